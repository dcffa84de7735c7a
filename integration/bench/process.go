package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Fields of /proc/<pid>/stat, counted from behind the name in parentheses.
const (
	statParent = 1
	statUser   = 11
	statSystem = 12
	statWaited = 13 // user and system time of children that ended
	hertz      = 100
)

func stat(pid int) ([]string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	text := string(data)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) <= statWaited+1 {
		return nil, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	return fields, nil
}

// family is a process and everything it started that still runs.
func family(pid int) ([]int, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, dir := range dirs {
		child, _ := strconv.Atoi(filepath.Base(dir))
		fields, err := stat(child)
		if err != nil {
			continue // it ended meanwhile
		}
		parent, _ := strconv.Atoi(fields[statParent])
		children[parent] = append(children[parent], child)
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all, nil
}

// cpu is the processor time that a process and its family have used, in seconds.
func cpu(pid int) (float64, error) {
	pids, err := family(pid)
	if err != nil {
		return 0, err
	}
	var ticks float64
	for i, p := range pids {
		fields, err := stat(p)
		if err != nil && i == 0 {
			return 0, err
		}
		if err != nil {
			continue // counted with its parent from now on
		}
		for _, at := range []int{statUser, statSystem, statWaited, statWaited + 1} {
			n, err := strconv.ParseFloat(fields[at], 64)
			if err != nil {
				return 0, err
			}
			ticks += n
		}
	}
	return ticks / hertz, nil
}

// memory sums one line of /proc/<pid>/status over a family, in MiB: VmHWM for the most
// there was, VmRSS for now.
func memory(pid int, line string) (float64, error) {
	pids, err := family(pid)
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for _, p := range pids {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p))
		if err != nil {
			continue
		}
		for text := range strings.Lines(string(data)) {
			if rest, ok := strings.CutPrefix(text, line+":"); ok {
				kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
				if err != nil {
					return 0, err
				}
				sum += kib / 1024
			}
		}
	}
	if sum == 0 {
		return 0, errors.New("no " + line + " in the process status")
	}
	return sum, nil
}

// forgetPeak makes the most there was begin anew.
func forgetPeak(pid int) error {
	pids, err := family(pid)
	if err != nil {
		return err
	}
	for _, p := range pids {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p), []byte("5"), 0) // it may have ended
	}
	return nil
}
