//! A pipeline of three stages: lines are made, parsed by a few workers, and summed up. Channels between the stages are
//! bounded, so a slow stage holds the one before it back. The first failure ends all of it, and is what `main` gets.
//!
//! Run with `cargo run -p madrigal-runtime --example pipeline`.

use madrigal_runtime::{Channel, FanOptions, Received, Runtime, TaskError, for_each_concurrent, scope};

/// Sums the numbers in `lines`, parsing four lines at a time.
async fn sum(lines: Vec<String>) -> Result<i64, TaskError> {
    let (raw, parsed) = (Channel::named("raw", 8), Channel::named("parsed", 8));
    scope(async |s| {
        let out = raw.clone();
        s.spawn_future(async move {
            for line in lines {
                out.send(line).await.map_err(|_| TaskError::new("nobody parses"))?;
            }
            out.close();
            Ok(())
        })?;
        let (source, out) = (Received::new(raw.clone()), parsed.clone());
        s.spawn_future(async move {
            let options = FanOptions { limit: Some(4), ..FanOptions::default() };
            let done = for_each_concurrent(options, source, |_, line: String| {
                let out = out.clone();
                async move {
                    let number: i64 = line.trim().parse().map_err(|_| TaskError::new(format!("no number: {line}")))?;
                    out.send(number).await.map_err(|_| TaskError::new("nobody sums up"))
                }
            });
            done.await?;
            out.close();
            Ok(())
        })?;
        let mut total = 0;
        while let Some(number) = parsed.receive().await {
            total += number;
        }
        Ok(total)
    })
    .await
}

fn main() {
    let runtime = Runtime::new();
    let total = runtime.run(|| sum((1..=100).map(|n| n.to_string()).collect()));
    println!("sum: {}", total.expect("all lines are numbers"));
    let failed = runtime.run(|| sum(vec!["1".into(), "two".into(), "3".into()]));
    println!("failed: {}", failed.expect_err("a line is no number"));
}
