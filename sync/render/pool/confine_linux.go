package pool

import (
	"errors"
	"fmt"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"golang.org/x/sys/unix"
)

// Hard limits of a child, beyond what its parent watches: an allocation too sudden to be
// seen in time ends the child alone.
const (
	dataLimit  = 2 << 30
	filesLimit = 64
)

// denied are the ways out of a render process: programs, the network, other processes.
var denied = []string{
	"execve", "execveat", "socket", "socketpair", "connect", "bind", "listen", "accept", "accept4",
	"sendto", "sendmsg", "ptrace", "process_vm_readv", "process_vm_writev", "mount", "unshare", "setns",
}

// confine gives up programs, network and large memory for the rest of the process.
func confine() error {
	var errs []error
	for resource, limit := range map[int]uint64{unix.RLIMIT_CORE: 0, unix.RLIMIT_FSIZE: 0, unix.RLIMIT_NOFILE: filesLimit, unix.RLIMIT_DATA: dataLimit} {
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			errs = append(errs, fmt.Errorf("setting limit %d: %w", resource, err))
		}
	}
	filter := seccomp.Filter{
		NoNewPrivs: true,
		Flag:       seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{
			DefaultAction: seccomp.ActionAllow,
			Syscalls:      []seccomp.SyscallGroup{{Action: seccomp.ActionErrno, Names: denied}},
		},
	}
	if err := seccomp.LoadFilter(filter); err != nil {
		errs = append(errs, fmt.Errorf("filtering system calls: %w", err))
	}
	return errors.Join(errs...)
}
