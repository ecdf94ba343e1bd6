"""The kernels in Python (tasks on asyncio): `bench.py KERNEL [SIZE]` prints `<name> <seconds> <check>`."""
import asyncio
import sys
import time


async def spawn_join(n):
    async def one(i):
        return i
    tasks = [asyncio.create_task(one(i)) for i in range(n)]
    return sum(await asyncio.gather(*tasks))


async def ping_pong(n):
    a, b = asyncio.Queue(1), asyncio.Queue(1)

    async def echo():
        while True:
            await b.put(await a.get() + 1)
    t = asyncio.create_task(echo())
    v = 0
    for _ in range(n):
        await a.put(v)
        v = await b.get()
    t.cancel()
    return v


async def fan_in(producers, each):
    q = asyncio.Queue(64)

    async def produce():
        for i in range(each):
            await q.put(i)
    ts = [asyncio.create_task(produce()) for _ in range(producers)]
    s = 0
    for _ in range(producers * each):
        s += await q.get()
    for t in ts:
        await t
    return s


async def bounded(items, limit):
    sem = asyncio.Semaphore(limit)

    async def one(i):
        async with sem:
            await asyncio.sleep(0.001)
            return i
    return sum(await asyncio.gather(*(one(i) for i in range(items))))


async def mutex(tasks, each):
    lock = asyncio.Lock()
    n = 0

    async def one():
        nonlocal n
        for _ in range(each):
            async with lock:
                n += 1
    await asyncio.gather(*(one() for _ in range(tasks)))
    return n


async def idle(n):
    await asyncio.gather(*(asyncio.sleep(2) for _ in range(n)))
    return n


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def loop(n):
    s = i = 0
    while i < n:
        s = (s + i * 3) % 1000003
        i += 1
    return s


def sieve(n):
    composite, count = [False] * (n + 1), 0
    i = 2
    while i <= n:
        if not composite[i]:
            count += 1
            j = i * i
            while j <= n:
                composite[j] = True
                j += i
        i += 1
    return count


def trees(depth):
    def make(d):
        return (None, None) if d == 0 else (make(d - 1), make(d - 1))

    def check(t):
        return 1 if t[0] is None else 1 + check(t[0]) + check(t[1])
    return sum(check(make(depth)) for _ in range(16))


def words(n):
    counts = {}
    for i in range(n):
        k = f"w{(i * 7919) % 5003}"
        counts[k] = counts.get(k, 0) + 1
    return sum(counts.values())


def queens(n):
    def place(row, cols, d1, d2):
        if row > n:
            return 1
        total = 0
        for c in range(1, n + 1):
            if not cols[c] and not d1[row + c] and not d2[row - c + n]:
                cols[c] = d1[row + c] = d2[row - c + n] = True
                total += place(row + 1, cols, d1, d2)
                cols[c] = d1[row + c] = d2[row - c + n] = False
        return total
    return place(1, [False] * (n + 1), [False] * (2 * n + 1), [False] * (2 * n + 1))


name = sys.argv[1]
default = {"spawn_join": 1_000_000, "ping_pong": 500_000, "fan_in": 250_000,
           "bounded": 10_000, "mutex": 10_000, "idle": 1_000_000, "fib": 32,
           "loop": 20_000_000, "sieve": 2_000_000, "trees": 14, "words": 1_000_000, "queens": 10}[name]
a = int(sys.argv[2]) if len(sys.argv) > 2 else default
t = time.perf_counter()
if name in ("fib", "loop", "sieve", "trees", "words", "queens"):
    r = globals()[name](a)
else:
    coro = {"spawn_join": lambda: spawn_join(a), "ping_pong": lambda: ping_pong(a),
            "fan_in": lambda: fan_in(4, a), "bounded": lambda: bounded(a, 100),
            "mutex": lambda: mutex(100, a), "idle": lambda: idle(a)}[name]()
    r = asyncio.run(coro)
print(f"{name} {time.perf_counter() - t:.4f} {r}")
