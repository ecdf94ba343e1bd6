// Command bench holds the kernels in Go: `bench KERNEL [SIZE]` prints `<name> <seconds> <check>`.
package main

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

func spawnJoin(n int) int {
	out := make([]chan int, n)
	for i := range out {
		c := make(chan int, 1)
		out[i] = c
		go func() { c <- i }()
	}
	sum := 0
	for _, c := range out {
		sum += <-c
	}
	return sum
}

func pingPong(n int) int {
	a, b := make(chan int), make(chan int)
	go func() {
		for v := range a {
			b <- v + 1
		}
		close(b)
	}()
	v := 0
	for i := 0; i < n; i++ {
		a <- v
		v = <-b
	}
	close(a)
	return v
}

func ring(tasks, hops int) int {
	done := make(chan int)
	first := make(chan int, 1)
	in := first
	for i := 0; i < tasks; i++ {
		out := make(chan int, 1)
		if i == tasks-1 {
			out = first
		}
		go func(id int, in, out chan int) {
			for v := range in {
				if v == 0 {
					done <- id
					return
				}
				out <- v - 1
			}
		}(i, in, out)
		in = out
	}
	first <- hops
	return <-done
}

func fanIn(producers, each int) int {
	ch := make(chan int, 64)
	var wg sync.WaitGroup
	for p := 0; p < producers; p++ {
		wg.Add(1)
		go func() {
			for i := 0; i < each; i++ {
				ch <- i
			}
			wg.Done()
		}()
	}
	go func() { wg.Wait(); close(ch) }()
	sum := 0
	for v := range ch {
		sum += v
	}
	return sum
}

func bounded(items, limit int) int {
	sem := make(chan struct{}, limit)
	var wg sync.WaitGroup
	res := make([]int, items)
	for i := 0; i < items; i++ {
		sem <- struct{}{}
		wg.Add(1)
		go func() { time.Sleep(time.Millisecond); res[i] = i; <-sem; wg.Done() }()
	}
	wg.Wait()
	s := 0
	for _, v := range res {
		s += v
	}
	return s
}

func mutex(tasks, each int) int {
	var mu sync.Mutex
	var wg sync.WaitGroup
	n := 0
	for t := 0; t < tasks; t++ {
		wg.Add(1)
		go func() {
			for i := 0; i < each; i++ {
				mu.Lock()
				n++
				mu.Unlock()
			}
			wg.Done()
		}()
	}
	wg.Wait()
	return n
}

func idle(n int) int {
	var wg sync.WaitGroup
	for i := 0; i < n; i++ {
		wg.Add(1)
		go func() { time.Sleep(2 * time.Second); wg.Done() }()
	}
	wg.Wait()
	return n
}

func fib(n int) int {
	if n < 2 {
		return n
	}
	return fib(n-1) + fib(n-2)
}

func main() {
	name := os.Args[1]
	arg := func(i, d int) int {
		if len(os.Args) > i {
			v, _ := strconv.Atoi(os.Args[i])
			return v
		}
		return d
	}
	t := time.Now()
	var r int
	switch name {
	case "spawn_join":
		r = spawnJoin(arg(2, 1000000))
	case "ping_pong":
		r = pingPong(arg(2, 500000))
	case "ring":
		r = ring(503, arg(2, 1000000))
	case "fan_in":
		r = fanIn(4, arg(2, 250000))
	case "bounded":
		r = bounded(arg(2, 10000), 100)
	case "mutex":
		r = mutex(100, arg(2, 10000))
	case "idle":
		r = idle(arg(2, 1000000))
	case "fib":
		r = fib(arg(2, 32))
	}
	fmt.Printf("%s %.4f %d\n", name, time.Since(t).Seconds(), r)
}
