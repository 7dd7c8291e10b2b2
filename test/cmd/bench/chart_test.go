package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestAChartIsXMLAndItsNamesAreApart(t *testing.T) {
	c := chart{title: "a < b", x: "contexts", y: "ms", goal: 100, lines: []line{
		{"one & only", []point{{10, 20}, {1000, 99}}}, {"another", []point{{10, 21}, {1000, 98}}},
		{"empty", nil}}}
	decoder := xml.NewDecoder(strings.NewReader(c.svg()))
	places := map[string]string{}
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		element, isStart := token.(xml.StartElement)
		if !isStart || element.Name.Local != "text" {
			continue
		}
		place := ""
		for _, a := range element.Attr {
			if a.Name.Local == "x" || a.Name.Local == "y" {
				place += a.Value + " "
			}
		}
		var text string
		if err := decoder.DecodeElement(&text, &element); err != nil {
			t.Fatal(err)
		}
		if other, taken := places[place]; taken {
			t.Errorf("%q and %q are at %s", other, text, place)
		}
		places[place] = text
	}
	if len(places) < 12 {
		t.Errorf("there are %d texts: %q", len(places), places)
	}
}

func TestNamesAreNoCloserThanALine(t *testing.T) {
	taken := []float64{}
	for range 4 {
		at := free(100, taken)
		for _, other := range taken {
			if at > other-lineHeight && at < other+lineHeight {
				t.Errorf("%v is too close to %v", at, other)
			}
		}
		taken = append(taken, at)
	}
}
