package proc

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"
)

// Feed is a list that only grows and that any number of readers can wait on.
type Feed[T any] struct {
	mu    sync.Mutex
	items []T
	grown chan struct{} // closed, and replaced, whenever items grow
}

// NewFeed returns an empty one.
func NewFeed[T any]() *Feed[T] { return &Feed[T]{grown: make(chan struct{})} }

// Add appends and wakes everyone who waits.
func (f *Feed[T]) Add(items ...T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.items = append(f.items, items...)
	close(f.grown)
	f.grown = make(chan struct{})
}

// From returns the items from the i-th on, and a channel that closes when there are more.
func (f *Feed[T]) From(i int) ([]T, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.items[min(i, len(f.items)):]), f.grown
}

// Await returns the first item at or after index i that matches, and its index.
func (f *Feed[T]) Await(ctx context.Context, i int, match func(T) bool) (T, int, error) {
	for {
		items, grown := f.From(i)
		for _, item := range items {
			if match(item) {
				return item, i, nil
			}
			i++
		}
		select {
		case <-grown:
		case <-ctx.Done():
			var none T
			return none, i, context.Cause(ctx)
		}
	}
}

// Log is what a process printed, in memory and in a file; it goes on across restarts of
// the process.
type Log struct {
	lines *Feed[string]

	mu   sync.Mutex
	file *os.File
	part string // a last line without its end
}

// NewLog starts a log in a new file.
func NewLog(path string) (*Log, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &Log{lines: NewFeed[string](), file: file}, nil
}

// Write takes whatever a process prints, in pieces of any size.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n, err := l.file.Write(p); err != nil {
		return n, err
	}
	lines := strings.Split(l.part+string(p), "\n")
	l.part = lines[len(lines)-1]
	if whole := lines[:len(lines)-1]; len(whole) > 0 {
		l.lines.Add(whole...)
	}
	return len(p), nil
}

// Len is the number of lines so far, a place to look from later.
func (l *Log) Len() int {
	lines, _ := l.lines.From(0)
	return len(lines)
}

// Lines returns all lines from the i-th on.
func (l *Log) Lines(i int) []string {
	lines, _ := l.lines.From(i)
	return lines
}

// Await returns the first line at or after the i-th that matches, and its index.
func (l *Log) Await(ctx context.Context, i int, match func(string) bool) (string, int, error) {
	return l.lines.Await(ctx, i, match)
}

// Tail returns the last n lines, one without its end included.
func (l *Log) Tail(n int) string {
	lines := l.Lines(0)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.part != "" {
		lines = append(lines, l.part)
	}
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Close closes the file; the lines stay readable.
func (l *Log) Close() error { return l.file.Close() }
