// Goroutines in every state that a program can bring them into, and dumps of them. What there is
// to be found is printed to standard error, one `state<TAB>count` a line, counted as they are made;
// then `goroutines<TAB>count` from the runtime, and `groups<TAB>count`.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"time"
)

var (
	states  = map[string]int{}
	groups  = 0
	mutex   sync.Mutex
	rwmutex sync.RWMutex
	// Nobody sends to the one, and nobody receives from the other.
	never   = make(chan int)
	unread  = make(chan int)
	nothing chan int
)

// Says that there will be so many goroutines in a state, in one group.
func expect(state string, count int) {
	states[state] += count
	groups++
}

type stack[T any] struct{ items chan T }

//go:noinline
func (s *stack[T]) pop() T { return <-s.items }

//go:noinline
func deep(left int, args ...any) {
	if left == 0 {
		<-never
	} else {
		deep(left-1, left, args)
	}
	runtime.KeepAlive(args)
}

//go:noinline
func waits(a string, b []byte, c struct{ x, y int }, d any) {
	<-never
	runtime.KeepAlive(b)
}

func inlined() { waits("a", []byte("b"), struct{ x, y int }{1, 2}, 3.0) }

func made() {
	many := func(count int, state string, f func(n int)) {
		expect(state, count)
		for n := 0; n < count; n++ {
			go f(n)
		}
	}
	mutex.Lock()
	rwmutex.Lock()
	var group sync.WaitGroup
	group.Add(1)
	cond := sync.NewCond(&sync.Mutex{})
	many(7, "chan receive", func(n int) { waits(strings.Repeat("x", n), nil, struct{ x, y int }{n, n}, n) })
	many(2, "chan receive", func(int) { inlined() })
	many(3, "chan send", func(n int) { unread <- n })
	many(1, "chan receive (nil chan)", func(int) { <-nothing })
	many(1, "chan send (nil chan)", func(int) { nothing <- 1 })
	many(4, "select", func(int) {
		select {
		case <-never:
		case unread <- 1:
		}
	})
	many(1, "select (no cases)", func(int) { select {} })
	many(5, "sleep", func(n int) { time.Sleep(time.Hour + time.Duration(n)) })
	many(3, mutexState(), func(int) { mutex.Lock() })
	many(2, "sync.RWMutex.RLock", func(int) { rwmutex.RLock() })
	many(2, waitGroupState(), func(int) { group.Wait() })
	many(3, "sync.Cond.Wait", func(int) { cond.L.Lock(); cond.Wait() })
	many(2, "chan receive", func(int) { runtime.LockOSThread(); <-never })
	many(6, "chan receive", func(int) { (&stack[map[string]int]{make(chan map[string]int)}).pop() })
	for depth := 1; depth <= 3; depth++ {
		many(2, "chan receive", func(int) { deep(depth) })
	}
	// Each level of the loop variable is one line, and so are all depths beyond what Go prints.
	many(2, "chan receive", func(n int) { deep(150) })
	many(4, "chan receive", func(n int) {
		labels := pprof.Labels("endpoint", "/api/v1", "we]ird \"key\"", fmt.Sprintf("}: %d\ngoroutine 7 [running]:", n))
		pprof.Do(context.Background(), labels, func(context.Context) { <-never })
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	many(1, "IO wait", func(int) { listener.Accept() })
	pipe := make([]int, 2)
	if err := syscall.Pipe(pipe); err != nil {
		panic(err)
	}
	many(1, "syscall", func(int) { syscall.Read(pipe[0], make([]byte, 1)) })
	rwmutex2 := &sync.RWMutex{}
	rwmutex2.RLock()
	many(1, "sync.RWMutex.Lock", func(int) { rwmutex2.Lock() })
}

func older(minor int) bool {
	var is int
	fmt.Sscanf(runtime.Version(), "go1.%d", &is)
	return is < minor
}

func mutexState() string { return "sync.Mutex.Lock" }

// `semacquire` before 1.24.
func waitGroupState() string {
	if older(24) {
		return "semacquire"
	}
	return "sync.WaitGroup.Wait"
}

// Waits until every goroutine has come to where it waits: none runs or can run but this one.
func settle() {
	for {
		time.Sleep(50 * time.Millisecond)
		buffer := make([]byte, 16<<20)
		text := string(buffer[:runtime.Stack(buffer, true)])
		if strings.Count(text, " [runnable]:\n") == 0 && strings.Count(text, " [running]:\n") == 1 {
			return
		}
	}
}

func main() {
	made()
	settle()
	for state, count := range states {
		fmt.Fprintf(os.Stderr, "%s\t%d\n", state, count)
	}
	fmt.Fprintf(os.Stderr, "goroutines\t%d\ngroups\t%d\n", runtime.NumGoroutine(), groups)
	switch os.Args[1] {
	case "debug1", "debug2":
		level := int(os.Args[1][5] - '0')
		pprof.Lookup("goroutine").WriteTo(os.Stdout, level)
	case "proto":
		pprof.Lookup("goroutine").WriteTo(os.Stdout, 0)
	case "threadcreate":
		pprof.Lookup("threadcreate").WriteTo(os.Stdout, 1)
	case "small":
		buffer := make([]byte, 8000)
		os.Stdout.Write(buffer[:runtime.Stack(buffer, true)])
	case "quit":
		syscall.Dup2(1, 2)
		syscall.Kill(os.Getpid(), syscall.SIGQUIT)
		select {}
	case "panic":
		syscall.Dup2(1, 2)
		panic("oh\ngoroutine 99 [fake]:\nmain.evil()\n\t/evil.go:1 +0x1")
	case "fault":
		syscall.Dup2(1, 2)
		debug.SetTraceback(os.Getenv("GOTRACEBACK"))
		var nobody *int
		*nobody = 1
	case "fatal":
		syscall.Dup2(1, 2)
		m := map[int]int{}
		go func() {
			for {
				m[1]++
			}
		}()
		for {
			m[1]++
		}
	}
}
