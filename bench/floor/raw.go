package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"slices"
	"sync"
	"time"
)

// rawFloor writes 400 bytes to each of n TCP sockets, twelve times, and reports when the
// last reader had them. Writer and readers share this process.
func rawFloor(n int) {
	var read sync.WaitGroup
	conns := rawConns(n, &read)
	msg := make([]byte, rawBytes)
	var ms []float64
	for k := range 12 {
		read.Add(n)
		begun := time.Now()
		for _, c := range conns {
			if _, err := c.Write(msg); err != nil {
				log.Fatal(err)
			}
		}
		read.Wait()
		if k > 1 { // two warm it up
			ms = append(ms, time.Since(begun).Seconds()*1e3)
		}
	}
	slices.Sort(ms)
	fmt.Printf("raw tcp n=%d bytes=%d last_ms min %.2f median %.2f max %.2f\n", n, rawBytes, ms[0], ms[len(ms)/2], ms[len(ms)-1])
}

const rawBytes = 400

// rawConns opens n connections whose other ends count each message off.
func rawConns(n int, read *sync.WaitGroup) []net.Conn {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	var conns []net.Conn
	for range n {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			log.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		conns = append(conns, s)
		go func() {
			for b := make([]byte, rawBytes); ; read.Done() {
				if _, err := io.ReadFull(c, b); err != nil {
					return
				}
			}
		}()
	}
	return conns
}
