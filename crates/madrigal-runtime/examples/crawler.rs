//! A bounded crawler: pages are fetched at most four at a time, every page once, each within a time limit. The server is
//! in this program, a TCP server that speaks just enough of a protocol: a request is a line, the answer is the links.
//!
//! Run with `cargo run -p madrigal-runtime --example crawler`.

use std::collections::HashSet;
use std::io::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use madrigal_runtime::{
    CancelKind, CancelReason, Channel, FanOptions, Received, Runtime, RuntimeHandle, ScopeHandle, TaskError, deadline,
    for_each_concurrent, scope,
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Page n links to pages 2n and 2n + 1, up to this one.
const LAST_PAGE: u32 = 40;
const AT_A_TIME: usize = 4;

fn failed(error: Error) -> TaskError {
    TaskError::new(error.to_string())
}

async fn answer(stream: TcpStream) -> Result<(), Error> {
    let mut stream = BufReader::new(stream);
    let mut request = String::new();
    stream.read_line(&mut request).await?;
    let page: u32 = request.trim().parse().unwrap_or(0);
    let links = [2 * page, 2 * page + 1].into_iter().filter(|it| *it <= LAST_PAGE).map(|it| it.to_string());
    stream.write_all(format!("{}\n", links.collect::<Vec<_>>().join(" ")).as_bytes()).await
}

async fn fetch(address: SocketAddr, page: u32) -> Result<Vec<u32>, Error> {
    let mut stream = BufReader::new(TcpStream::connect(address).await?);
    stream.write_all(format!("{page}\n").as_bytes()).await?;
    let mut links = String::new();
    stream.read_line(&mut links).await?;
    Ok(links.split_whitespace().filter_map(|it| it.parse().ok()).collect())
}

/// What the fetches share.
struct Crawl {
    runtime: RuntimeHandle,
    address: SocketAddr,
    /// Pages to fetch; closed when there can be no more.
    frontier: Channel<u32>,
    seen: Mutex<HashSet<u32>>,
    /// Pages found and not fetched yet.
    open: AtomicUsize,
    in_flight: AtomicUsize,
    in_flight_max: AtomicUsize,
}

impl Crawl {
    async fn visit(&self, page: u32) -> Result<(), TaskError> {
        self.in_flight_max.fetch_max(self.in_flight.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let fetching = self.runtime.external(fetch(self.address, page));
        let in_time = deadline(Duration::from_secs(5), async { fetching.await.map_err(failed) }).await;
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        let links = in_time.map_err(|late| TaskError::new(late.to_string()))?.into_result()?;
        for link in links {
            self.add(link);
        }
        if self.open.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.frontier.close();
        }
        Ok(())
    }

    fn add(&self, page: u32) {
        if self.seen.lock().is_ok_and(|mut seen| seen.insert(page)) {
            self.open.fetch_add(1, Ordering::SeqCst);
            let _ = self.frontier.try_send(page);
        }
    }
}

/// Answers requests until it is cancelled.
async fn serve(runtime: RuntimeHandle, listener: TcpListener, s: ScopeHandle<TaskError>) -> Result<(), TaskError> {
    loop {
        let (stream, _) = runtime.external(listener.accept()).await.map_err(failed)?;
        let answering = runtime.external(answer(stream));
        s.spawn_future(async move { answering.await.map_err(failed) })?;
    }
}

async fn run(runtime: RuntimeHandle) -> Result<(), TaskError> {
    let listener = runtime.external(TcpListener::bind("127.0.0.1:0")).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    scope(async |s: ScopeHandle<TaskError>| {
        let server = s.spawn_future(serve(runtime.clone(), listener, s.clone()))?;
        let crawl = Arc::new(Crawl {
            runtime: runtime.clone(),
            address,
            frontier: Channel::new(usize::MAX),
            seen: Mutex::default(),
            open: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            in_flight_max: AtomicUsize::new(0),
        });
        crawl.add(1);
        let options = FanOptions { limit: Some(AT_A_TIME), ..FanOptions::default() };
        let visit = |_, page| {
            let crawl = crawl.clone();
            async move { crawl.visit(page).await }
        };
        for_each_concurrent(options, Received::new(crawl.frontier.clone()), visit).await?;
        let pages = crawl.seen.lock().map_or(0, |seen| seen.len());
        let bounded = crawl.in_flight_max.load(Ordering::SeqCst) <= AT_A_TIME;
        println!("{pages} pages, never more than {AT_A_TIME} at a time: {bounded}");
        server.cancel(CancelReason::new(CancelKind::Shutdown, "done"));
        Ok(())
    })
    .await
}

fn main() {
    let runtime = Runtime::new();
    let handle = runtime.handle();
    runtime.run(|| run(handle)).expect("the server is up and all pages exist");
}
