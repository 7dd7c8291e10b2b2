//go:build linux

package scripts_test

import (
	"context"
	"os"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/rogpeppe/go-internal/testscript"
)

// modelessCommand is "modeless refuses|ignores DIR": it mounts a file system there that keeps no
// modes, as those of Windows drives do. chmod is refused (vfat) or does nothing (drvfs).
func modelessCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: modeless refuses|ignores DIR")
	}
	dir := ts.MkAbs(args[1])
	backing := dir + ".backing"
	ts.Check(os.MkdirAll(dir, 0o700))
	ts.Check(os.MkdirAll(backing, 0o700))
	loopback, err := fs.NewLoopbackRoot(backing)
	ts.Check(err)
	root := &modeless{loopback.(*fs.LoopbackNode), args[0] == "refuses"}
	root.RootData.RootNode = root
	server, err := fs.Mount(dir, root, &fs.Options{MountOptions: fuse.MountOptions{
		DirectMountStrict: true, FsName: "modeless", Name: "modeless"}})
	ts.Check(err)
	ts.Defer(func() { _ = server.Unmount() })
}

// canMount is the condition [fuse]: only root can mount, and not everywhere.
func canMount() bool {
	file, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	_ = file.Close()
	return os.Geteuid() == 0
}

// modeless is a file or a directory that everybody can do everything with.
type modeless struct {
	*fs.LoopbackNode
	refuses bool
}

// WrapChild implements fs.NodeWrapChilder.
func (n *modeless) WrapChild(_ context.Context, child fs.InodeEmbedder) fs.InodeEmbedder {
	return &modeless{child.(*fs.LoopbackNode), n.refuses}
}

// Getattr implements fs.NodeGetattrer.
func (n *modeless) Getattr(ctx context.Context, f fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	errno := n.LoopbackNode.Getattr(ctx, f, out)
	out.Mode |= 0o777
	return errno
}

// Statx implements fs.NodeStatxer.
func (n *modeless) Statx(ctx context.Context, f fs.FileHandle, flags, mask uint32,
	out *fuse.StatxOut) syscall.Errno {
	errno := n.LoopbackNode.Statx(ctx, f, flags, mask, out)
	out.Mode |= 0o777
	return errno
}

// Lookup implements fs.NodeLookuper.
func (n *modeless) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode,
	syscall.Errno) {
	inode, errno := n.LoopbackNode.Lookup(ctx, name, out)
	out.Mode |= 0o777
	return inode, errno
}

// Setattr implements fs.NodeSetattrer.
func (n *modeless) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn,
	out *fuse.AttrOut) syscall.Errno {
	if _, isMode := in.GetMode(); isMode {
		if n.refuses {
			return syscall.EPERM
		}
		in.Valid &^= fuse.FATTR_MODE
	}
	errno := n.LoopbackNode.Setattr(ctx, f, in, out)
	out.Mode |= 0o777
	return errno
}
