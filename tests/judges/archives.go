// Reads tar archives as Docker, containerd and skopeo do: with archive/tar.
// One line in: an archive in base64. One line out: its entries as JSON, or a text: refused, and why.
// With the argument "write": an archive in each format of Go's writer, in base64, one a line.
package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

func read(raw []byte) ([]byte, error) {
	found := [][]any{}
	archive := tar.NewReader(bytes.NewReader(raw))
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return json.Marshal(found)
		}
		if err != nil {
			return nil, err
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, archive); err != nil {
			return nil, err
		}
		if header.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		kind, content := string(header.Typeflag), hex.EncodeToString(sum.Sum(nil))
		found = append(found, []any{header.Name, kind, header.Size, header.Linkname, content})
	}
}

func write(format tar.Format) []byte {
	long := strings.Repeat("deep/", 30) + "leaf"
	times := time.Unix(1700000000, 0)
	headers := []tar.Header{
		{Name: "blobs/", Typeflag: tar.TypeDir, Mode: 0755, ModTime: times},
		{Name: "blobs/one", Typeflag: tar.TypeReg, Mode: 0644, Size: 5, Uname: "root", Gname: "root"},
		{Name: long, Typeflag: tar.TypeReg, Mode: 0600, Size: 5, Uid: 1000, Gid: 1000},
		{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "blobs/one", Mode: 0777},
		{Name: "hard", Typeflag: tar.TypeLink, Linkname: "blobs/one"},
	}
	if format == tar.FormatPAX {
		headers[1].ModTime = time.Unix(1700000000, 123456789)
		headers[1].PAXRecords = map[string]string{"comment": "x", "SCHILY.xattr.user.a": "b\x00c"}
		headers[2].Name += strings.Repeat("é", 80)
	}
	if format == tar.FormatGNU {
		headers[2].Name += strings.Repeat("n", 200)
		headers[1].Uid = 3000000000
		headers[1].ModTime = time.Unix(-5, 0)
	}
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	for _, header := range headers {
		header.Format = format
		if err := archive.WriteHeader(&header); err != nil {
			panic(err)
		}
		archive.Write([]byte("12345")[:header.Size])
	}
	archive.Close()
	return out.Bytes()
}

func main() {
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	if len(os.Args) > 1 {
		for _, format := range []tar.Format{tar.FormatUSTAR, tar.FormatPAX, tar.FormatGNU} {
			fmt.Fprintln(out, base64.StdEncoding.EncodeToString(write(format)))
		}
		return
	}
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
		if err != nil {
			panic(err)
		}
		found, err := read(raw)
		if err != nil {
			found, _ = json.Marshal("refused: " + err.Error())
		}
		fmt.Fprintf(out, "%s\n", found)
	}
}
