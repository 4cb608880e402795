// Command shop is the application behind the demo and the end-to-end tests.
//
//	shop serve    a web shop: GET / is a page, GET /api/… answers JSON, POST /orders takes an order
//	shop ledger   the book in which every run of an order is written before it is answered
//	shop unready  has the shop in the same container turn unready, and serve on; shop ready undoes it
//
// It stands for two kinds of application: one that drains when Kubernetes asks it to end, and one
// that simply exits. Every request carries its own id in the header Order-Id, so that a test can
// say of each single request what became of it.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"syscall"
	"time"
)

// idHeader names the request header that identifies one request among all of a test.
const idHeader = "Order-Id"

func main() {
	log.SetFlags(log.LstdFlags | log.Lmicroseconds | log.LUTC)
	if len(os.Args) < 2 {
		usage()
	}
	switch os.Args[1] {
	case "serve":
		log.Fatal(serve(serverOptions(os.Args[2:])))
	case "ledger":
		log.Fatal(keepLedger(":8080", ":8081"))
	case "unready":
		signalShop(syscall.SIGUSR1)
	case "ready":
		signalShop(syscall.SIGUSR2)
	default:
		usage()
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: shop serve [-version NAME] [-on-term drain|exit] [-ledger HOST] [-broken] | shop ledger|unready|ready")
	os.Exit(2)
}

// signalShop signals the first process of the container.
func signalShop(s syscall.Signal) {
	if err := syscall.Kill(1, s); err != nil {
		log.Fatal(err)
	}
}

// options are how one shop behaves.
type options struct {
	listen  string
	version string        // shown in every answer, to tell which backend served it
	ledger  string        // host of the ledger; empty: orders are not written down
	onTerm  string        // what SIGTERM does: "drain" or "exit"
	grace   time.Duration // how long a draining shop still serves
	work    time.Duration // how long an order takes
	broken  bool          // every answer but that of /ready has the status 500
}

func serverOptions(args []string) options {
	var o options
	flags := flag.NewFlagSet("shop serve", flag.ExitOnError)
	flags.StringVar(&o.listen, "listen", ":8080", "address to serve on")
	flags.StringVar(&o.version, "version", "blue", "name shown in every answer")
	flags.StringVar(&o.ledger, "ledger", "", "host of the ledger; empty: orders are not written down")
	flags.StringVar(&o.onTerm, "on-term", "drain", "what SIGTERM does: drain or exit")
	flags.DurationVar(&o.grace, "grace", 8*time.Second, "how long a draining shop still serves")
	flags.DurationVar(&o.work, "work", 2*time.Millisecond, "how long an order takes")
	flags.BoolVar(&o.broken, "broken", false, "answer everything but /ready with status 500")
	_ = flags.Parse(args) // ExitOnError
	if o.onTerm != "drain" && o.onTerm != "exit" {
		log.Fatalf("-on-term is %q: it must be drain or exit", o.onTerm)
	}
	return o
}
