// Command caller is the client of the end-to-end tests that runs in a pod, where the mesh sees what
// it sends.
//
//	caller serve            holds loads when told to
//	caller start            has it hold a load: a load.Target and a rate as JSON on standard input
//	caller step NAME        names what happens from now on
//	caller sent             prints how many requests have ended
//	caller stop             ends all loads and prints their results as JSON
//	caller call             makes one call: a call.Request as JSON in, a call.Outcome out
//	caller calls N          makes N calls, one after the other: a call.Request in, call.Outcomes out
//	caller once REQUEST     the same with the JSON as an argument, and ends with 1 without an answer
//
// Those between the first and the last are run in the container of the first. They reach it without
// the network, so that nothing but what is tested passes the pod's interface.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/e2e/call"
)

// control is a socket in the pod's own network namespace that no packet passes.
const control = "@caller"

func main() {
	log.SetFlags(log.LstdFlags | log.Lmicroseconds | log.LUTC)
	command, args := "", os.Args[1:]
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	var err error
	switch {
	case command == "serve" && len(args) == 0:
		err = serve()
	case command == "start" && len(args) == 0:
		err = tell(http.MethodPost, "/start", os.Stdin)
	case command == "step" && len(args) == 1:
		err = tell(http.MethodPost, "/step?name="+url.QueryEscape(args[0]), nil)
	case command == "sent" && len(args) == 0:
		err = tell(http.MethodGet, "/sent", nil)
	case command == "stop" && len(args) == 0:
		err = tell(http.MethodPost, "/stop", nil)
	case command == "call" && len(args) == 0:
		_, err = one(os.Stdin, os.Stdout)
	case command == "calls" && len(args) == 1:
		err = several(args[0], os.Stdin, os.Stdout)
	case command == "once" && len(args) == 1:
		err = once(args[0])
	default:
		fmt.Fprintln(os.Stderr, "usage: caller serve|start|step NAME|sent|stop|call|calls N|once REQUEST")
		os.Exit(2)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// serve takes orders until it is ended.
func serve() error {
	at, err := net.Listen("unix", control)
	if err != nil {
		return err
	}
	return http.Serve(at, new(loads).handler())
}

// one makes one call.
func one(from io.Reader, to io.Writer) (out call.Outcome, err error) {
	var request call.Request
	if err := json.NewDecoder(from).Decode(&request); err != nil {
		return out, fmt.Errorf("read a request: %w", err)
	}
	out = call.Do(context.Background(), request)
	return out, json.NewEncoder(to).Encode(out)
}

// several makes n calls, one after the other.
func several(n string, from io.Reader, to io.Writer) error {
	times, err := strconv.Atoi(n)
	if err != nil {
		return err
	}
	var request call.Request
	if err := json.NewDecoder(from).Decode(&request); err != nil {
		return fmt.Errorf("read a request: %w", err)
	}
	all := []call.Outcome{}
	for range times {
		all = append(all, call.Do(context.Background(), request))
	}
	return json.NewEncoder(to).Encode(all)
}

// once makes one call, and has no answer be an error.
func once(request string) error {
	out, err := one(strings.NewReader(request), os.Stdout)
	if err != nil {
		return err
	}
	return out.Err()
}

// tell gives the running caller an order and prints its answer.
func tell(method, path string, body io.Reader) error {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", control)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: time.Minute}
	request, err := http.NewRequest(method, "http://caller"+path, body)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		words, _ := io.ReadAll(response.Body)
		return fmt.Errorf("%s: %s", response.Status, bytes.TrimSpace(words))
	}
	_, err = io.Copy(os.Stdout, response.Body)
	return err
}
