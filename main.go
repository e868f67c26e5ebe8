// Command tollgate is a gateway for large language models.
package main

import (
	"os"
	_ "time/tzdata" // budget windows follow a time zone, also in an image without one

	"tollgate/node/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr)) }
