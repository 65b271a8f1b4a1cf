// Looks names up with Go's own resolver: for each argument one line, the name
// and its addresses, or the error.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
)

func main() {
	resolver := net.Resolver{PreferGo: true}
	for _, name := range os.Args[1:] {
		fmt.Print(name)
		found, err := resolver.LookupIPAddr(context.Background(), name)
		if err != nil {
			fmt.Print(" error: ", err)
		}
		for _, address := range found {
			fmt.Print(" ", address.String())
		}
		fmt.Println()
	}
}
