// Command tradewind delivers what is in Git to Kubernetes as soon as it is pushed.
package main

import (
	"os"

	"github.com/tradewind-dev/tradewind/cmd/tradewind/cli"
)

func main() { os.Exit(cli.Main()) }
