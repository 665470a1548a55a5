// Many clients of a registry, cheap enough not to be what is measured: pull HOST:PORT CLIENTS < PATHS
//
// Each client has one connection and asks for every path in turn. Bodies are counted and thrown away in the
// kernel. Prints requests, bytes, and the seconds of the first and of the last client to finish.
package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// readHead returns the length of the body that follows.
func readHead(reader *bufio.Reader, path string) int {
	length := -1
	for number := 0; ; number++ {
		line, err := reader.ReadString('\n')
		check(err)
		if number == 0 && !strings.HasPrefix(line, "HTTP/1.1 200 ") {
			check(fmt.Errorf("%s: %s", path, line))
		}
		if line = strings.TrimSpace(line); line == "" {
			return length
		}
		name, value, _ := strings.Cut(line, ":")
		if strings.EqualFold(name, "content-length") {
			length, err = strconv.Atoi(strings.TrimSpace(value))
			check(err)
		}
	}
}

// discard removes bytes from the socket without copying them.
func discard(connection *net.TCPConn, left int) {
	raw, err := connection.SyscallConn()
	check(err)
	scrap := make([]byte, 1<<20)
	for left > 0 {
		count := 0
		var failure error
		check(raw.Read(func(fd uintptr) bool {
			size := len(scrap)
			if left < size {
				size = left
			}
			count, _, failure = syscall.Recvfrom(int(fd), scrap[:size], syscall.MSG_TRUNC)
			return failure != syscall.EAGAIN
		}))
		check(failure)
		if count <= 0 {
			check(fmt.Errorf("the server closed %d bytes early", left))
		}
		left -= count
	}
}

func pull(host string, paths []string) (total int) {
	dialled, err := net.Dial("tcp", host)
	check(err)
	connection := dialled.(*net.TCPConn)
	defer connection.Close()
	reader := bufio.NewReaderSize(connection, 4096)
	for _, path := range paths {
		_, err := fmt.Fprintf(connection, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host)
		check(err)
		length := readHead(reader, path)
		held := reader.Buffered()
		if held > length {
			held = length
		}
		_, err = reader.Discard(held)
		check(err)
		discard(connection, length-held)
		total += length
	}
	return total
}

func main() {
	clients, err := strconv.Atoi(os.Args[2])
	check(err)
	var paths []string
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		paths = append(paths, lines.Text())
	}
	var lock sync.Mutex
	var group sync.WaitGroup
	total, first, last := 0, 0.0, 0.0
	start := time.Now()
	for number := 0; number < clients; number++ {
		group.Add(1)
		go func() {
			defer group.Done()
			count := pull(os.Args[1], paths)
			took := time.Since(start).Seconds()
			lock.Lock()
			defer lock.Unlock()
			total += count
			if first == 0 {
				first = took
			}
			last = took
		}()
	}
	group.Wait()
	fmt.Println(clients*len(paths), total, first, last)
}
