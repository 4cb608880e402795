// Command echo is an application of the end-to-end tests that speaks every protocol and can stop to
// answer each of them.
//
//	echo serve              listens on all its ports
//	echo turn PORT on|off   has a port of the running application listen, or be closed
//	echo healthy            ends with 0 while the port exec is on, as an exec probe wants it
//	echo status             prints what each port has seen, as JSON
//	echo asked PATH         prints how many HTTP requests there were for a path
//
// The last four are run in the application's own container, and reach it without the network.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// control is where the application is told what to do: a socket in the pod's own network namespace
// that no packet passes.
const control = "@echo"

func main() {
	log.SetFlags(log.LstdFlags | log.Lmicroseconds | log.LUTC)
	command, args := "", os.Args[1:]
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	switch {
	case command == "serve":
		log.Fatal(serve(args))
	case command == "turn" && len(args) == 2 && (args[1] == "on" || args[1] == "off"):
		tell(http.MethodPut, "/ports/"+args[0]+"/"+args[1])
	case command == "healthy":
		tell(http.MethodGet, "/healthy")
	case command == "status":
		tell(http.MethodGet, "/status")
	case command == "asked" && len(args) == 1:
		tell(http.MethodGet, "/asked?path="+url.QueryEscape(args[0]))
	default:
		fmt.Fprintln(os.Stderr, "usage: echo serve [-on-term drain|exit] | echo turn PORT on|off | echo healthy | echo status | echo asked PATH")
		os.Exit(2)
	}
}

// tell asks the running application and prints its answer.
func tell(method, path string) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", control)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: 5 * time.Second}
	request, err := http.NewRequest(method, "http://echo"+path, nil)
	if err != nil {
		log.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(os.Stdout, response.Body); err != nil {
		log.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		log.Fatal(response.Status)
	}
}

// serve listens until SIGTERM. A draining application then turns unready and serves on for a while,
// an exiting one is gone at once.
func serve(args []string) error {
	flags := flag.NewFlagSet("echo serve", flag.ExitOnError)
	onTerm := flags.String("on-term", "drain", "what SIGTERM does: drain or exit")
	grace := flags.Duration("grace", 5*time.Second, "how long a draining application still serves")
	_ = flags.Parse(args) // ExitOnError
	if *onTerm != "drain" && *onTerm != "exit" {
		return fmt.Errorf("-on-term is %q: it must be drain or exit", *onTerm)
	}
	pod, err := os.Hostname()
	if err != nil {
		return err
	}
	app, err := newApplication(pod)
	if err != nil {
		return err
	}
	if err := app.listen(); err != nil {
		return err
	}
	at, err := net.Listen("unix", control)
	if err != nil {
		return err
	}
	go func() { log.Fatal(http.Serve(at, app.control())) }()
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	<-term
	if *onTerm == "drain" {
		app.drain()
		time.Sleep(*grace)
	}
	os.Exit(0)
	return nil
}
