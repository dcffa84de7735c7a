//go:build !linux

package main

// confine does nothing where the system has no such limits.
func confine() error { return nil }
