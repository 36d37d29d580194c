// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

package probes

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of what is listed, in bytes of JSON, of which no text takes more. The
// kubelet reads 10 KiB of an answer and then closes the connection under the
// writer. An answer has one long list and three short ones at most, and a short
// one has room for the longest name.
const (
	maxNames = 7 << 10 // names of what fails
	maxRest  = 3 << 8  // names of causes, and of what is skipped, excluded or unknown
	maxName  = 120     // of a name, as it is; up to six times as much in JSON
)

// printable reports whether a name fits a line of an answer.
func printable(name string) bool {
	return utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl)
}

// quoted returns a name as it stands among other words: in quotes, and escaped, if
// it could be taken for something else than one name.
func quoted(name string) string {
	if plain(name) {
		return name
	}
	return strconv.Quote(name)
}

func plain(name string) bool {
	switch name {
	case "", "starting", "maintenance", "shutting down": // what answers say instead of names
		return false
	}
	return utf8.ValidString(name) && !strings.ContainsFunc(name, isOdd) && strings.TrimSpace(name) == name &&
		!strings.Contains(name, ": ") && !strings.HasPrefix(name, "and ") && !strings.HasPrefix(name, `"`)
}

// isOdd reports whether a character separates names, or cannot be seen, or not
// where it stands.
func isOdd(r rune) bool {
	return r == ',' || r == ';' || !unicode.IsPrint(r)
}

// list joins names, as many as fit into so many bytes, each quoted and cut as
// need be.
func list(names []string, most int) string {
	var b strings.Builder
	size := 0
	for i, name := range names {
		name = quoted(cut(name))
		if size += len(", ") + inJSON(name); size > most {
			fmt.Fprintf(&b, ", and %d more", len(names)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(name)
	}
	return b.String()
}

// cut returns a name, or the beginning of it and three dots, so that one name
// does not crowd out the others.
func cut(name string) string {
	if len(name) <= maxName {
		return name
	}
	end := maxName
	for i := range utf8.UTFMax { // not in the middle of a character
		if utf8.RuneStart(name[maxName-i]) {
			end = maxName - i
			break
		}
	}
	return name[:end] + "..."
}

// inJSON returns how long a printable text is there, without its quotes.
func inJSON(text string) int {
	n := len(text)
	for _, r := range text {
		switch r {
		case '"', '\\':
			n++
		case '<', '>', '&':
			n += len(`\u003c`) - 1
		}
	}
	return n
}
