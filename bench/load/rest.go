package main

import (
	"io"
	"net/http"
	"sync/atomic"
)

// An authority makes the requests of one server's interface and finds the certificate in its answers.
type authority interface {
	request(sample *sample) (*http.Request, error)
	certificate(body []byte) (string, error)
}

// rest asks with one request for each certificate, all of them made beforehand.
type rest struct {
	client   *http.Client
	asked    authority
	samples  []*sample
	prepared []*http.Request
	opening  []*http.Request
	sent     atomic.Int64
}

func newRest(client *http.Client, asked authority, samples []*sample, callers int) (*rest, error) {
	more, err := newSamples(callers)
	if err != nil {
		return nil, err
	}
	r := &rest{client: client, asked: asked, samples: samples}
	if r.prepared, err = prepare(asked, samples); err != nil {
		return nil, err
	}
	r.opening, err = prepare(asked, more)
	return r, err
}

func prepare(asked authority, samples []*sample) ([]*http.Request, error) {
	prepared := make([]*http.Request, len(samples))
	for index, one := range samples {
		request, err := asked.request(one)
		if err != nil {
			return nil, err
		}
		prepared[index] = request
	}
	return prepared, nil
}

// open asks for a certificate that does not count.
func (r *rest) open(caller int) error {
	_, err := r.send(r.opening[caller])
	return err
}

func (r *rest) requests() int64 { return r.sent.Load() }

func (r *rest) issue(_, index int) ([]byte, error) { return r.send(r.prepared[index]) }

func (r *rest) verify(answer []byte, index int) error { return verify(answer, r.samples[index]) }

func (r *rest) send(request *http.Request) ([]byte, error) {
	r.sent.Add(1)
	response, err := r.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusCreated {
		return nil, &refusal{response.StatusCode, string(body)}
	}
	text, err := r.asked.certificate(body)
	return []byte(text), err
}
