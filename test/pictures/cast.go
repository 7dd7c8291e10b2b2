// Package pictures makes the pictures of the README: what a terminal has shown, recorded as an
// asciicast, and drawn from that as SVG. It knows nothing of what was run.
package pictures

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Cast is what a terminal has shown: an asciicast (version 2), which players of asciinema read, too.
type Cast struct {
	Columns, Rows int
	Events        []Event
}

// Event is what was written at a time after the beginning.
type Event struct {
	At   time.Duration
	Text string
}

// How a person is drawn: typing, and reading what is shown.
const (
	keystroke = 45 * time.Millisecond
	thinking  = 700 * time.Millisecond
	reading   = 2500 * time.Millisecond
	// longest is what is left of a wait that the viewer need not sit through.
	longest = 1200 * time.Millisecond
)

// Types is a command that is typed behind a prompt.
func (c *Cast) Types(command string) {
	c.add(thinking, Prompt)
	for _, key := range command {
		c.add(keystroke, string(key))
	}
	c.add(thinking, "\r\n")
}

// Prompt is what a command stands behind.
const Prompt = "$ "

// Shows is what a program writes, some time after what came before.
func (c *Cast) Shows(after time.Duration, text string) { c.add(min(after, longest), text) }

// Rests leaves time to read.
func (c *Cast) Rests() { c.add(reading, "") }

func (c *Cast) add(after time.Duration, text string) {
	at := after
	if n := len(c.Events); n > 0 {
		at += c.Events[n-1].At
	}
	c.Events = append(c.Events, Event{at, text})
}

// Until is the part of the recording before a command, for a picture that does not move.
func (c *Cast) Until(command string) *Cast {
	part := &Cast{Columns: c.Columns, Rows: c.Rows}
	typed := ""
	for _, e := range c.Events {
		if e.Text == Prompt {
			typed = ""
		}
		typed += e.Text
		if typed == Prompt+command {
			break
		}
		part.Events = append(part.Events, e)
	}
	for n := len(part.Events); n > 0; n-- { // the prompt, and what was typed of the command
		if part.Events[n-1].Text == Prompt {
			part.Events = part.Events[:n-1]
			break
		}
	}
	return part
}

// header is an asciicast's first line.
type header struct {
	Version int `json:"version"`
	Width   int `json:"width"`
	Height  int `json:"height"`
}

// Encode writes an asciicast.
func (c *Cast) Encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(header{2, c.Columns, c.Rows}); err != nil {
		return nil, err
	}
	for _, event := range c.Events {
		seconds := json.Number(fmt.Sprintf("%.3f", event.At.Seconds()))
		if err := e.Encode([]any{seconds, "o", event.Text}); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// Decode reads one that Encode has written.
func Decode(data []byte) (*Cast, error) {
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	var h header
	if !lines.Scan() {
		return nil, fmt.Errorf("no header")
	}
	if err := json.Unmarshal(lines.Bytes(), &h); err != nil {
		return nil, err
	}
	c := &Cast{Columns: h.Width, Rows: h.Height}
	for lines.Scan() {
		var seconds float64
		var kind, text string
		if err := json.Unmarshal(lines.Bytes(), &[]any{&seconds, &kind, &text}); err != nil {
			return nil, err
		}
		c.Events = append(c.Events,
			Event{time.Duration(seconds * float64(time.Second)), text})
	}
	return c, lines.Err()
}

// Text is all that was shown.
func (c *Cast) Text() string {
	var b bytes.Buffer
	for _, e := range c.Events {
		b.WriteString(e.Text)
	}
	return b.String()
}
