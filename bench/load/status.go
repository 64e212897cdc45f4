package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
)

// status asks a server for what is signed already or signed at once, in HTTP requests that were written beforehand. A connection stays open
// as long as the server keeps it. The client does as little as it can: the server is to be the slower one.
type status struct {
	address  string
	messages [][]byte
	lines    []*line
	sent     atomic.Int64
}

// A line is the connection of one caller.
type line struct {
	connection net.Conn
	reader     *bufio.Reader
}

// shortest is what an answer has at least: an OCSP error response is shorter.
const shortest = 100

// newStatus reads the requests from a file, one a line, each in base64; they are sent in turn.
func newStatus(address, file string, callers int) (*status, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	s := &status{address: address, lines: make([]*line, callers)}
	for _, word := range strings.Fields(string(text)) {
		message, err := base64.StdEncoding.DecodeString(word)
		if err != nil {
			return nil, err
		}
		s.messages = append(s.messages, message)
	}
	if len(s.messages) == 0 {
		return nil, fmt.Errorf("no request in %s", file)
	}
	return s, nil
}

// open does nothing: a server that serves one connection after the other would wait for one that asks nothing.
func (s *status) open(int) error { return nil }

func (s *status) connect(caller int) error {
	connection, err := net.Dial("tcp", s.address)
	if err != nil {
		return err
	}
	s.lines[caller] = &line{connection, bufio.NewReader(connection)}
	return nil
}

func (s *status) requests() int64 { return s.sent.Load() }

func (s *status) issue(caller, index int) ([]byte, error) {
	for attempt := 0; ; attempt++ {
		if s.lines[caller] == nil {
			if err := s.connect(caller); err != nil {
				return nil, err
			}
		}
		s.sent.Add(1)
		body, keep, err := s.lines[caller].exchange(s.messages[index%len(s.messages)])
		if err != nil || !keep {
			s.lines[caller].connection.Close()
			s.lines[caller] = nil
		}
		// A server may close a connection while a request is on its way: it is sent once more, over another one.
		if err != nil && attempt == 0 && (errors.Is(err, io.EOF) || errors.Is(err, errReset)) {
			continue
		}
		return body, err
	}
}

func (s *status) verify([]byte, int) error { return nil }

var errReset = errors.New("the connection ended before an answer")

func (l *line) exchange(message []byte) (body []byte, keep bool, err error) {
	if _, err = l.connection.Write(message); err != nil {
		return nil, false, errReset
	}
	first, err := l.reader.ReadSlice('\n')
	if err != nil {
		return nil, false, errReset
	}
	code, _ := strconv.Atoi(string(first[9:12]))
	keep = bytes.HasPrefix(first, []byte("HTTP/1.1"))
	length := -1
	for {
		header, err := l.reader.ReadSlice('\n')
		if err != nil {
			return nil, false, err
		}
		header = bytes.TrimRight(header, "\r\n")
		if len(header) == 0 {
			break
		}
		name, value, _ := bytes.Cut(header, []byte(":"))
		switch {
		case equal(name, "content-length"):
			length, err = strconv.Atoi(string(bytes.TrimSpace(value)))
			if err != nil {
				return nil, false, err
			}
		case equal(name, "connection"):
			keep = !equal(bytes.TrimSpace(value), "close")
		}
	}
	if length < 0 {
		return nil, false, errors.New("an answer without Content-Length")
	}
	body = make([]byte, length)
	if _, err = io.ReadFull(l.reader, body); err != nil {
		return nil, false, err
	}
	if code != 200 {
		return nil, keep, &refusal{code, string(body)}
	}
	if length < shortest {
		return nil, keep, fmt.Errorf("an answer of %d octets: %x", length, body)
	}
	return body, keep, nil
}

func equal(text []byte, name string) bool { return bytes.EqualFold(text, []byte(name)) }
