package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"path"
	"strings"
)

var errNoProgram = errors.New("the program is not in it")

func isProgram(name string) bool { return strings.TrimSuffix(path.Base(name), ".exe") == program }

// find is the program in an archive.
func find(name string, data []byte) ([]byte, error) {
	if strings.HasSuffix(name, ".zip") {
		return findZipped(data)
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	for files := tar.NewReader(unzipped); ; {
		header, err := files.Next()
		switch {
		case err == io.EOF:
			return nil, errNoProgram
		case err != nil:
			return nil, err
		case isProgram(header.Name) && header.Typeflag == tar.TypeReg:
			return io.ReadAll(files)
		}
	}
}

func findZipped(data []byte) ([]byte, error) {
	files, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	for _, file := range files.File {
		if !isProgram(file.Name) {
			continue
		}
		opened, err := file.Open()
		if err != nil {
			return nil, err
		}
		defer opened.Close()
		return io.ReadAll(opened)
	}
	return nil, errNoProgram
}
