// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

// Command api writes api.txt, which has a line for each exported name of the module:
// what a change of the API is, is then seen where it is reviewed. At a release the file
// is copied to one with the name of the version, such as v0.1.0.txt. What is in the
// newest of those and no longer in api.txt may break a user, and has to be told in
// CHANGELOG.md; the test of this package fails otherwise.
package main

import (
	"fmt"
	"log"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func main() {
	log.SetFlags(0)
	lines, err := exported(".")
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile("internal/api/api.txt", []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		log.Fatal(err)
	}
	fmt.Println("internal/api/api.txt has", len(lines), "lines")
}

// exported returns the API of all packages beneath a directory that others can import.
func exported(root string) (lines []string, err error) {
	err = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() || path == root {
			return err
		}
		switch name := d.Name(); {
		case name == "internal" || name == "examples" || name == "testdata" || name[0] == '.' || name[0] == '_':
			return filepath.SkipDir
		}
		pkg, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		of, err := exportedBy(path, filepath.ToSlash(pkg))
		lines = append(lines, of...)
		return err
	})
	slices.Sort(lines)
	return slices.Compact(lines), err
}

// without returns the lines of a that are not in b.
func without(a, b []string) (left []string) {
	for _, line := range a {
		if !slices.Contains(b, line) {
			left = append(left, line)
		}
	}
	return left
}

// untold returns the lines that a release has and the API now has not, unless an entry of
// the changelog under Changed or Removed names what each is about, in backquotes: with its
// package, as `probes.Check`, or without it in an entry that begins with the package's.
func untold(release, now []string, changelog string) (left []string) {
	entries := strings.Split(broken(changelog), "\n- ")
	for _, line := range without(release, now) {
		pkg, name := subject(line)
		if !slices.ContainsFunc(entries, func(entry string) bool { return tells(entry, pkg, name) }) {
			left = append(left, line)
		}
	}
	return left
}

// tells reports whether an entry of the changelog is about a name of a package.
func tells(entry, pkg, name string) bool {
	pkg, name = regexp.QuoteMeta(path.Base(pkg)), regexp.QuoteMeta(name)
	with := regexp.MustCompile("`(?:\\w+/)*" + pkg + `\.(?:\w+\.)?` + name + `\b`)
	begins := regexp.MustCompile("^[^`]*`(?:\\w+/)*" + pkg + "`")
	without := regexp.MustCompile("`(?:[A-Z]\\w*\\.)?" + name + `\b`)
	return with.MatchString(entry) || begins.MatchString(entry) && without.MatchString(entry)
}

// subject returns what a line is about: a package, and the name that it exports.
func subject(line string) (pkg, name string) {
	m := regexp.MustCompile(`^(\S+): (?:const|var|type|func|field|method) (?:\(?\*?\w+\)?\.)?(\w+)`).FindStringSubmatch(line)
	if m == nil {
		panic("api: what is this line about? " + line)
	}
	return m[1], m[2]
}

// broken returns what the changelog says to have changed or been removed since the last
// release.
func broken(changelog string) string {
	_, unreleased, _ := strings.Cut(changelog, "\n## [Unreleased]\n")
	unreleased, _, _ = strings.Cut(unreleased, "\n## ")
	var all strings.Builder
	for section := range strings.SplitSeq(unreleased, "\n### ") {
		if strings.HasPrefix(section, "Changed\n") || strings.HasPrefix(section, "Removed\n") {
			all.WriteString(section)
		}
	}
	return all.String()
}
