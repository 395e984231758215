//go:build unix

package certs

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"
)

// before gives a test the word before something that can fail.
func (d *Directory) before(operation, path string) error {
	if d.step == nil {
		return nil
	}
	return d.step(operation, path)
}

// ReadFile implements [Storage]. Only regular files are read, and at most
// [MaxListInput] octets of them.
func (d *Directory) ReadFile(name string) ([]byte, error) {
	root, err := d.opened(name)
	if err != nil {
		return nil, err
	}
	return readRegular(root, name)
}

func readRegular(root *os.Root, name string) ([]byte, error) {
	// A named pipe in the place of a file must not be waited for.
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, belowFile(name, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is not a regular file", name)
	}
	data, err := readAll(file, MaxListInput)
	if err != nil {
		zero(data)
		return nil, err
	}
	return data, nil
}

// belowFile says of a path below a file, which is no folder, that nothing is there.
func belowFile(name string, err error) error {
	if errors.Is(err, syscall.ENOTDIR) {
		return notExist(name)
	}
	return err
}

// Stat implements [Storage]. A file is exposed, too, if others may write a folder on the
// way to it, and so put another file in its place.
func (d *Directory) Stat(name string) (FileState, error) {
	root, err := d.opened(name)
	if err != nil {
		return FileState{}, err
	}
	info, err := root.Stat(name)
	if err != nil {
		return FileState{}, belowFile(name, err)
	}
	state := fileState(info)
	for folder := name; folder != "." && !state.Exposed; {
		folder = path.Dir(folder)
		if info, err = root.Stat(folder); err != nil {
			return FileState{}, err
		}
		state.Exposed = info.Mode().Perm()&0o022 != 0
	}
	return state, nil
}

// ReadDir implements [Storage].
func (d *Directory) ReadDir(folder string) ([]string, error) {
	names, err := d.names(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return names, err
}

// WriteFile implements [Storage].
func (d *Directory) WriteFile(name string, data []byte) (err error) {
	root, err := d.writable(name)
	if err != nil {
		return err
	}
	folder := path.Dir(name)
	if err := d.makeFolder(root, folder); err != nil {
		return err
	}
	temp := tempName(folder)
	if err := d.before("create", temp); err != nil {
		return err
	}
	file, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			file.Close()
			root.Remove(temp)
		}
	}()
	if err := file.Chmod(fileMode); err != nil { // the umask may have taken something
		return err
	}
	if err := d.before("write", temp); err != nil {
		return err
	}
	if _, err := file.Write(data); err != nil {
		return err
	}
	if err := d.before("sync", temp); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	if err := d.before("rename", name); err != nil {
		return err
	}
	if err := root.Rename(temp, name); err != nil {
		return err
	}
	return d.syncFolder(root, folder)
}

// tempName returns a name that nothing else has, in the folder.
func tempName(folder string) string {
	var random [12]byte
	rand.Read(random[:])
	return path.Join(folder, tempPrefix+hex.EncodeToString(random[:]))
}

// makeFolder makes a folder and those above it.
func (d *Directory) makeFolder(root *os.Root, folder string) error {
	if folder == "." {
		return nil
	}
	if info, err := root.Stat(folder); err == nil && info.IsDir() {
		return nil
	}
	parent := path.Dir(folder)
	if err := d.makeFolder(root, parent); err != nil {
		return err
	}
	if err := d.before("mkdir", folder); err != nil {
		return err
	}
	if err := root.Mkdir(folder, folderMode); err != nil {
		return err
	}
	if err := root.Chmod(folder, folderMode); err != nil { // the umask may have taken something
		return err
	}
	return d.syncFolder(root, parent)
}

// syncFolder makes what happened to the names in a folder last.
func (d *Directory) syncFolder(root *os.Root, folder string) error {
	if err := d.before("sync", folder); err != nil {
		return err
	}
	f, err := root.Open(folder)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// Link implements [Storage].
func (d *Directory) Link(from, to string) error {
	root, err := d.writable(from, to)
	if err != nil {
		return err
	}
	temp := tempName(path.Dir(to))
	if err := d.before("link", temp); err != nil {
		return err
	}
	if err := root.Link(from, temp); err != nil {
		return err
	}
	// Where both names are of one file already, rename(2) does nothing, and the
	// temporary name stays.
	defer root.Remove(temp)
	if err := d.before("rename", to); err != nil {
		return err
	}
	if err := root.Rename(temp, to); err != nil {
		return err
	}
	return d.syncFolder(root, path.Dir(to))
}

// Rename implements [Storage].
func (d *Directory) Rename(from, to string) error {
	root, err := d.writable(from, to)
	if err != nil {
		return err
	}
	if err := d.before("rename", to); err != nil {
		return err
	}
	if err := root.Rename(from, to); err != nil {
		return err
	}
	if path.Dir(from) != path.Dir(to) {
		if err := d.syncFolder(root, path.Dir(from)); err != nil {
			return err
		}
	}
	return d.syncFolder(root, path.Dir(to))
}

// Remove implements [Storage].
func (d *Directory) Remove(name string) error {
	root, err := d.writable(name)
	if err != nil {
		return err
	}
	if err := d.before("remove", name); err != nil {
		return err
	}
	if err := root.Remove(name); err != nil {
		return err
	}
	return d.syncFolder(root, path.Dir(name))
}

// RemoveFolder implements [Storage]. The folder is renamed first, which takes it out of
// service at once; what is left of it after a crash is removed at the next opening.
func (d *Directory) RemoveFolder(folder string) error {
	root, err := d.writable(folder)
	if err != nil {
		return err
	}
	temp := tempName(path.Dir(folder))
	if err := d.Rename(folder, temp); err != nil {
		return err
	}
	if err := d.before("remove", temp); err != nil {
		return err
	}
	return root.RemoveAll(temp)
}
