package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

// serveHTTP answers http-01 on port 80 with the key authorizations by path, until the context ends.
func (w *walk) serveHTTP(ctx context.Context, answers map[string]string) error {
	listener, err := net.Listen("tcp", net.JoinHostPort(w.address, "80"))
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		answer, known := answers[in.URL.Path]
		if !known {
			http.NotFound(out, in)
			return
		}
		_, _ = io.WriteString(out, answer)
	})}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() { _ = server.Serve(listener) }()
	return nil
}

// serveALPN answers tls-alpn-01 on port 443 with one certificate, until the context ends.
func (w *walk) serveALPN(ctx context.Context, certificate tls.Certificate) error {
	configuration := &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"acme-tls/1"}}
	listener, err := tls.Listen("tcp", net.JoinHostPort(w.address, "443"), configuration)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				_ = connection.(*tls.Conn).HandshakeContext(ctx)
			}()
		}
	}()
	return nil
}

// dns adds or removes the TXT record of a name that is to be proven.
func (w *walk) dns(ctx context.Context, action, name, value string) error {
	record := "_acme-challenge." + strings.TrimPrefix(name, "*.")
	if output, err := exec.CommandContext(ctx, w.dnsHook, action, record, value).CombinedOutput(); err != nil {
		return fmt.Errorf("dns hook: %w: %s", err, output)
	}
	return nil
}

// httpClient trusts the server's roots and nothing else; `wrap` may look at what goes through it.
func (w *walk) httpClient(wrap func(http.RoundTripper) http.RoundTripper) (*http.Client, error) {
	text, err := os.ReadFile(w.transportRoots)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("no certificate in %s", w.transportRoots)
	}
	var transport http.RoundTripper = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	if wrap != nil {
		transport = wrap(transport)
	}
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}, nil
}
