// Command load asks a certificate authority for certificates with a fixed number of callers, each of which waits for its certificate
// before it asks for another (a closed loop), over TLS connections that stay open.
//
// Keys, requests, one-time tokens and accounts are made beforehand, and with them every caller's connection is opened. Then it writes
// "ready", waits for a line on standard input, runs, and writes one line of JSON.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A workload is how certificates are asked for.
type workload interface {
	// open does what a caller needs before its first certificate, over a connection that stays open.
	open(caller int) error
	// issue gets the certificate of the sample with this index, in PEM; status: the answer to the request with this index.
	issue(caller, index int) ([]byte, error)
	// requests is how many HTTP requests were sent since the workload was made.
	requests() int64
	// verify holds that an answer is what was asked for with this index; asked once of each caller, after the window.
	verify(answer []byte, index int) error
}

// A refusal is an answer with another status than the one that was due.
type refusal struct {
	status int
	body   string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d: %.300s", r.status, r.body) }

type result struct {
	Certificates int     `json:"certificates"`
	HTTPRequests int64   `json:"httpRequests"`
	Errors       int     `json:"errors"`
	ServerErrors int     `json:"serverErrors"`
	FirstError   string  `json:"firstError,omitempty"`
	Seconds      float64 `json:"seconds"`
	P50Ms        float64 `json:"p50Ms"`
	P99Ms        float64 `json:"p99Ms"`
	LongestMs    float64 `json:"longestMs"`
}

func main() {
	log.SetFlags(0)
	server := flag.String("server", "chancery", "whose interface: chancery, step, acme or status")
	url := flag.String("url", "", "base URL; acme: URL of the directory")
	roots := flag.String("ca", "", "PEM file of the root to trust")
	token := flag.String("token", "", "chancery: file with the bearer token")
	profile := flag.String("profile", "server", "chancery: profile")
	key := flag.String("key", "", "step: PEM file with the provisioner's P-256 key")
	provisioner := flag.String("provisioner", "", "step: name of the JWK provisioner")
	challenges := flag.String("http01", "", "acme: address on which challenges are answered")
	dns := flag.String("dns", "", "acme: address on which every name is said to be 127.0.0.1")
	address := flag.String("address", "", "status: host and port")
	messages := flag.String("messages", "", "status: file with the HTTP requests to send in turn, one a line, in base64")
	callers := flag.Int("callers", 1, "how many ask at once")
	most := flag.Int("requests", 1000, "how many certificates in all")
	seconds := flag.Int("seconds", 0, "after how many seconds nothing more is begun; 0: after the last certificate")
	flag.Parse()

	var client *http.Client
	var samples []*sample
	var err error
	if *server != "status" {
		client, err = newClient(*roots, *callers)
		check(err)
		samples, err = newSamples(*most)
		check(err)
	}
	var load workload
	switch *server {
	case "status":
		load, err = newStatus(*address, *messages, *callers)
	case "acme":
		load, err = newAcme(client, samples, acmeOptions{directory: *url, callers: *callers, challenges: *challenges, dns: *dns})
	case "step":
		var asked authority
		asked, err = newStep(*url, *provisioner, *key)
		check(err)
		load, err = newRest(client, asked, samples, *callers)
	default:
		var asked authority
		asked, err = newChancery(*url, *profile, *token)
		check(err)
		load, err = newRest(client, asked, samples, *callers)
	}
	check(err)
	check(forEach(*callers, load.open))
	fmt.Println("ready")
	_, err = bufio.NewReader(os.Stdin).ReadString('\n')
	check(err)
	check(json.NewEncoder(os.Stdout).Encode(run(load, *most, *callers, time.Duration(*seconds)*time.Second)))
}

// run issues so many certificates with so many callers and holds that each caller's last certificate is for its sample. It gives up when as many
// have failed as there are callers: a server that hangs lets everybody wait.
func run(load workload, most, callers int, limit time.Duration) result {
	var next, failures, serverErrors atomic.Int64
	var ended atomic.Int64 // when the last certificate came: what is waited for in vain after it is no part of the window
	var group sync.WaitGroup
	var firstError atomic.Pointer[string]
	durations := make([][]time.Duration, callers)
	sent := load.requests()
	begun := time.Now()
	failed := func(err error) {
		text := err.Error()
		firstError.CompareAndSwap(nil, &text)
		failures.Add(1)
		var refused *refusal
		if errors.As(err, &refused) && refused.status >= 500 {
			serverErrors.Add(1)
		}
	}
	for caller := range callers {
		group.Add(1)
		go func() {
			defer group.Done()
			var last []byte
			var lastIndex int
			for failures.Load() < int64(callers) && (limit == 0 || time.Since(begun) < limit) {
				index := int(next.Add(1)) - 1
				if index >= most {
					break
				}
				asked := time.Now()
				certificate, err := load.issue(caller, index)
				if err != nil {
					failed(err)
					continue
				}
				durations[caller] = append(durations[caller], time.Since(asked))
				ended.Store(int64(time.Since(begun)))
				last, lastIndex = certificate, index
			}
			if last != nil {
				if err := load.verify(last, lastIndex); err != nil {
					failed(err)
				}
			}
		}()
	}
	group.Wait()
	seconds := time.Duration(ended.Load()).Seconds()
	all := slices.Concat(durations...)
	slices.Sort(all)
	measured := result{
		Certificates: len(all), HTTPRequests: load.requests() - sent, Errors: int(failures.Load()), ServerErrors: int(serverErrors.Load()),
		Seconds: seconds, P50Ms: quantile(all, 0.50), P99Ms: quantile(all, 0.99), LongestMs: quantile(all, 1),
	}
	if text := firstError.Load(); text != nil {
		measured.FirstError = *text
	}
	return measured
}

// forEach lets all callers act at once, so that each has a connection, and gives one of their errors.
func forEach(callers int, act func(caller int) error) error {
	outcomes := make(chan error)
	for caller := range callers {
		go func() { outcomes <- act(caller) }()
	}
	var failed error
	for range callers {
		if err := <-outcomes; err != nil {
			failed = err
		}
	}
	return failed
}

// verify holds that a certificate is for the key that its request proved.
func verify(text []byte, asked *sample) error {
	block, _ := pem.Decode(text)
	if block == nil {
		return fmt.Errorf("no PEM in the answer")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	if !asked.key.PublicKey.Equal(certificate.PublicKey) {
		return fmt.Errorf("the certificate is for another key")
	}
	return certificate.VerifyHostname(asked.name)
}

// newClient speaks HTTP/1.1 to every server, so that all are asked in the same way.
func newClient(roots string, callers int) (*http.Client, error) {
	text, err := os.ReadFile(roots)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("no certificate in %s", roots)
	}
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13},
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
		MaxIdleConns:        callers,
		MaxIdleConnsPerHost: callers,
		MaxConnsPerHost:     callers,
		DisableCompression:  true,
	}
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}, nil
}

// quantile of sorted durations, in milliseconds.
func quantile(sorted []time.Duration, part float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	index := min(int(float64(len(sorted))*part), len(sorted)-1)
	return float64(sorted[index].Microseconds()) / 1000
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
