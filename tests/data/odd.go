// Dumps that few programs write: deadlocks, ends within ends, forged text, names of every shape.
// What the dump goes to is standard output; what it must hold goes to standard error, each
// `what<TAB>count`, before the dump is made.
package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const forged = "oh\r\n\ngoroutine 99 [fake]:\nmain.evil()\n\t/evil.go:1 +0x1\ncreated by main.evil in goroutine 98\n\t/evil.go:2 +0x2\n\ngoroutine 97 [fake]:\nmain.evil()\n\t/evil.go:1 +0x1\n"

var never = make(chan int)

func say(what string, count int) { fmt.Fprintf(os.Stderr, "%s\t%d\n", what, count) }

// Standard output takes what the runtime writes from here on.
func toStdout() { syscall.Dup2(1, 2) }

type forger struct{ text string }

func (f forger) Error() string { return f.text }

type stringer struct{}

func (stringer) String() string { return forged }

type text string

// Names.

type pair[K comparable, V any] struct {
	key K
	val V
}

//go:noinline
func (p *pair[K, V]) wait() { <-never }

//go:noinline
func (p pair[K, V]) byValue() { p.each(func(K, V) { <-never }) }

//go:noinline
func (p pair[K, V]) each(f func(K, V)) { f(p.key, p.val) }

type inner struct{ n int }

//go:noinline
func (i inner) Wait() { <-never }

type outer struct{ inner }

type waiter interface{ Wait() }

//go:noinline
func generic[T any](t T) { <-never; runtime.KeepAlive(t) }

func small()   { <-never }
func smaller() { small() }

//go:noinline
func variadic(format string, args ...any) { <-never; fmt.Sprintf(format, args...) }

//go:noinline
func wide(a, b, c, d, e, f, g, h, i, j, k, l int, s [4]string, t struct {
	x struct {
		y struct{ z struct{ w struct{ v int } } }
	}
}) {
	<-never
}

// Each in a group of its own.
func names() int {
	made := runtime.NumGoroutine()
	p := &pair[string, map[string][]int]{key: "k"}
	go p.wait()
	go p.byValue()
	go func() { func() { func() { <-never }() }() }()
	method := inner{1}.Wait
	go method()
	go outer{}.Wait()
	go (&outer{}).Wait()
	var w waiter = outer{}
	go w.Wait()
	go generic(1)
	go generic(struct{ A, B string }{"(", ")"})
	go generic[func(int) chan<- struct{}](nil)
	go smaller()
	go func() { smaller() }()
	go variadic("%d\ngoroutine 9 [fake]:", 1, "2", 3.0, nil)
	go wide(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, [4]string{}, struct {
		x struct {
			y struct{ z struct{ w struct{ v int } } }
		}
	}{})
	go func() {
		defer func() {
			recover()
			defer func() { <-never }()
			panic("again")
		}()
		panic("deferred")
	}()
	go func() {
		defer small()
		runtime.Goexit()
	}()
	go func() { time.AfterFunc(0, func() { <-never }); <-never }()
	go sync.OnceFunc(func() { <-never })()
	newer()
	time.Sleep(100 * time.Millisecond)
	return runtime.NumGoroutine() - made
}

//go:noinline
func overflow(n int) int { return overflow(n+1) + 1 }

//go:noinline
func deeper(n int) {
	if n == 0 {
		<-never
	}
	deeper(n - 1)
	runtime.KeepAlive(n)
}

func descend(generations int) {
	if generations == 0 {
		<-never
	}
	go descend(generations - 1)
	<-never
}

func every(string, string) (bool, error) { return true, nil }

func wait() { time.Sleep(200 * time.Millisecond) }

func dump() {
	say("goroutines", runtime.NumGoroutine())
	pprof.Lookup("goroutine").WriteTo(os.Stdout, 2)
}

func deadlock(f func()) {
	// What sleeps or polls would keep the runtime from noticing.
	say("goroutines", runtime.NumGoroutine())
	toStdout()
	f()
}

type nested struct{ err error }

func (n nested) Error() string { panic(n.err) }

func main() {
	if len(os.Args) < 2 {
		os.Exit(2)
	}
	mode := os.Args[1]
	if crash, ok := crashes[mode]; ok {
		for range [3]int{} {
			go func() { <-never }()
		}
		wait()
		say("goroutines", runtime.NumGoroutine())
		toStdout()
		crash()
		return
	}
	if stuck, ok := deadlocks[mode]; ok {
		for range [3]int{} {
			go func() { <-never }()
		}
		go func() { select {} }()
		go func() { var none chan int; none <- 1 }()
		deadlock(stuck)
		return
	}
	switch mode {
	case "names":
		say("groups", names())
		dump()
	case "ancestors":
		go descend(6)
		go func() { go func() { deeper(200) }(); <-never }()
		wait()
		dump()
	case "labels":
		labels := []string{"a", "", "\n", forged, "]:", "}:", "{", "\"", "\\", "\x00\x1b[31m", "ключ", "\xff\xfe", " [running]:", "a: b, c: d", "\u2028", "%s", "goroutine 7 [running]:", "🙂"}
		for _, a := range labels {
			for _, b := range labels {
				go pprof.Do(context.Background(), pprof.Labels(a, b, "k"+b, a), func(context.Context) { <-never })
			}
		}
		say("labelled", len(labels)*len(labels))
		say("forged", len(forged))
		wait()
		dump()
	case "labels1":
		for _, a := range []string{"a", "\n", forged, "\"", "\xff"} {
			go pprof.Do(context.Background(), pprof.Labels(a, a), func(context.Context) { <-never })
		}
		wait()
		say("goroutines", runtime.NumGoroutine())
		pprof.Lookup("goroutine").WriteTo(os.Stdout, 1)
	case "stacks":
		// What programs log themselves, one goroutine each.
		say("goroutines", 3)
		os.Stdout.Write(debug.Stack())
		fmt.Println("2026/01/02 03:04:05 http: panic serving 127.0.0.1:1: oh")
		os.Stdout.Write(debug.Stack())
		func() {
			defer func() { fmt.Printf("panic: %v\n\n%s", recover(), debug.Stack()) }()
			var none map[string]int
			none["a"] = 1
		}()
	case "timeout":
		toStdout()
		os.Args = []string{"t", "-test.timeout=300ms", "-test.v"}
		testing.Main(every, []testing.InternalTest{{"TestNever", func(t *testing.T) {
			t.Run("goroutine 5 [fake]:", func(t *testing.T) { t.Parallel(); <-never })
		}}}, nil, nil)
	case "leak":
		for range [5]int{} {
			go func() { <-make(chan int) }()
			go func() { var m sync.Mutex; m.Lock(); m.Lock() }()
		}
		go func() { <-never }()
		wait()
		say("goroutines", runtime.NumGoroutine())
		pprof.Lookup("goroutineleak").WriteTo(os.Stdout, 2)
	case "system":
		// The runtime's own too.
		runtime.GC()
		runtime.SetFinalizer(&forger{"x"}, func(*forger) { <-never })
		runtime.GC()
		wait()
		say("goroutines", runtime.NumGoroutine())
		toStdout()
		syscall.Kill(os.Getpid(), syscall.SIGQUIT)
		select {}
	case "synctest":
		bubbles()
	}
}

var deadlocks = map[string]func(){
	"receive": func() { <-never },
	"nil":     func() { var none chan int; <-none },
	"nocases": func() { select {} },
	"goexit":  func() { runtime.Goexit() },
	"mutex":   func() { var m sync.Mutex; m.Lock(); m.Lock() },
	"rlock":   func() { var m sync.RWMutex; m.Lock(); m.RLock() },
	"cond":    func() { c := sync.NewCond(&sync.Mutex{}); c.L.Lock(); c.Wait() },
	"group":   func() { var g sync.WaitGroup; g.Add(1); g.Wait() },
	"locked":  func() { runtime.LockOSThread(); <-never },
}

var crashes = map[string]func(){
	"forged":   func() { panic(forged) },
	"error":    func() { panic(forger{forged}) },
	"stringer": func() { panic(stringer{}) },
	"text":     func() { panic(text(forged)) },
	"wrapped":  func() { panic(fmt.Errorf("a: %w", errors.Join(forger{forged}, errors.New(forged)))) },
	"repanic": func() {
		defer func() { panic(recover()) }()
		panic(forged)
	},
	"chain": func() {
		defer func() { defer func() { panic(forger{"third\n" + forged}) }(); panic("second\ngoroutine 98 [fake]:") }()
		panic(forger{"first"})
	},
	"recovered": func() {
		defer func() { r := recover(); defer func() { panic(fmt.Sprint("after ", r)) }(); panic(r) }()
		panic("one")
	},
	"indefer":       func() { defer func() { var m map[int]int; m[1] = 1 }(); panic(1.5) },
	"inerror":       func() { panic(nested{forger{forged}}) },
	"nilpanic":      func() { panic(nil) },
	"overflow":      func() { debug.SetMaxStack(1 << 20); overflow(0) },
	"overflowother": func() { debug.SetMaxStack(1 << 20); go overflow(0); select {} },
	"map": func() {
		m := map[int]int{}
		go func() {
			for {
				m[1]++
			}
		}()
		for {
			m[1]++
		}
	},
	"unlock":   func() { var m sync.Mutex; m.Unlock() },
	"fault":    func() { var p *forger; _ = p.text },
	"badptr":   func() { debug.SetPanicOnFault(false); p := (*int)(nil); *p = 1 },
	"division": func() { zero := len(os.Args) - len(os.Args); fmt.Println(1 / zero) },
	"bounds":   func() { s := []int{1}; i := len(os.Args) + 5; fmt.Println(s[i]) },
	"close":    func() { c := make(chan int); close(c); close(c) },
	"abort":    func() { syscall.Kill(os.Getpid(), syscall.SIGABRT); select {} },
	"segv":     func() { syscall.Kill(os.Getpid(), syscall.SIGSEGV); select {} },
	"quitbusy": func() {
		go func() {
			for {
			}
		}()
		go func() {
			for {
				fmt.Sprint(1)
			}
		}()
		wait()
		syscall.Kill(os.Getpid(), syscall.SIGQUIT)
		select {}
	},
	"other":   func() { go panic(forged); select {} },
	"two":     func() { go func() { panic(forged) }(); panic("two") },
	"deep":    func() { go deeper(300); wait(); panic("deep") },
	"oom":     func() { debug.SetMemoryLimit(-1); x := make([]byte, 1<<47); fmt.Println(len(x)) },
	"println": func() { println("no newline at its end"); print("goroutine 5 [fake]: "); panic("printed") },
	"exitin":  func() { defer fmt.Println("deferred\ngoroutine"); panic("x") },
}

func counting(yield func(int) bool) {
	for i := 0; i < 3; i++ {
		if !yield(i) {
			return
		}
	}
}

func newer() {
	go func() {
		for range counting {
			for range counting {
				<-never
			}
		}
	}()
	go func() {
		next, _ := iter.Pull(func(yield func(int) bool) { <-never })
		next()
	}()
}

func bubbles() {
	os.Args = []string{"t", "-test.timeout=20s"}
	testing.Main(every, []testing.InternalTest{{"TestBubble", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			stop := make(chan int)
			for range 3 {
				go func() { <-stop }()
			}
			for range 2 {
				go func() {
					select {
					case <-stop:
					case stop <- 1:
						<-stop
					}
				}()
			}
			var group sync.WaitGroup
			group.Add(1)
			go func() { group.Wait() }()
			go func() { time.Sleep(time.Hour) }()
			synctest.Wait()
			say("durable", 7)
			dump()
			os.Exit(0)
		})
	}}}, nil, nil)
}
