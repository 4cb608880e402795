package call

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"golang.org/x/net/websocket"
)

func (r Request) http(ctx context.Context) (Outcome, error) {
	var protocols http.Protocols
	protocols.SetHTTP1(r.Protocol == HTTP)
	protocols.SetUnencryptedHTTP2(r.Protocol == H2C)
	transport := &http.Transport{Protocols: &protocols, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dial(ctx, r.Address)
	}}
	defer transport.CloseIdleConnections()
	request, err := r.request(ctx)
	if err != nil {
		return Outcome{}, err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return Outcome{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "application/json" {
		return Outcome{Status: response.StatusCode, Header: response.Header, Body: string(body)}, err
	}
	out, err := decode(body)
	out.Status, out.Header = response.StatusCode, response.Header
	return out, err
}

// request says the text in a POST, or asks by GET where there is none, unless the method is said.
func (r Request) request(ctx context.Context) (*http.Request, error) {
	method := http.MethodGet
	if r.Text != "" {
		method = http.MethodPost
	}
	method = cmp.Or(r.Method, method)
	path := "/" + strings.TrimPrefix(r.Path, "/")
	request, err := http.NewRequestWithContext(ctx, method, "http://"+r.Host+path, strings.NewReader(r.Text))
	if err != nil {
		return nil, err
	}
	for name, value := range r.Headers {
		request.Header.Set(name, value)
	}
	return request, nil
}

func (r Request) webSocket(ctx context.Context) (Outcome, error) {
	config, err := websocket.NewConfig("ws://"+r.Host+"/socket", "http://"+r.Host)
	if err != nil {
		return Outcome{}, err
	}
	conn, err := dial(ctx, r.Address)
	if err != nil {
		return Outcome{}, err
	}
	defer conn.Close()
	socket, err := websocket.NewClient(config, conn)
	if err != nil {
		return Outcome{}, fmt.Errorf("upgrade to WebSocket: %w", err)
	}
	if err := websocket.Message.Send(socket, r.Text); err != nil {
		return Outcome{}, err
	}
	var answer []byte
	if err := websocket.Message.Receive(socket, &answer); err != nil {
		return Outcome{}, err
	}
	return decode(answer)
}

// lines says one line and reads one; where the server speaks first, its greeting is read before.
func (r Request) lines(conn net.Conn) (Outcome, error) {
	reader := bufio.NewReader(conn)
	if r.Protocol == Greeting {
		if _, err := reader.ReadString('\n'); err != nil {
			return Outcome{}, fmt.Errorf("read the greeting: %w", err)
		}
	}
	if _, err := io.WriteString(conn, r.Text+"\n"); err != nil {
		return Outcome{}, err
	}
	line, err := reader.ReadBytes('\n')
	if err != nil {
		return Outcome{}, fmt.Errorf("read the answer: %w", err)
	}
	return decode(line)
}
