package kubeconfig

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestBatchMergesAllEntriesButTheOneWhoseNameIsTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	const taken = "apiVersion: v1\nkind: Config\ncontexts:\n- name: profile-7\n  context: " +
		"{cluster: a, user: b}\n"
	if err := os.WriteFile(path, []byte(taken), 0o600); err != nil {
		t.Fatal(err)
	}
	batch := NewBatch([]string{path})
	const callers = 40
	errs := make([]error, callers)
	var wait sync.WaitGroup
	for i := range callers {
		wait.Go(func() {
			entry := numberedEntry(i)
			_, errs[i] = batch.Merge(&entry)
		})
	}
	wait.Wait()
	for i, err := range errs {
		if i == 7 && !errors.Is(err, ErrForeign) || i != 7 && err != nil {
			t.Errorf("caller %d: %v", i, err)
		}
	}
	uses, err := FindPluginContexts([]string{path})
	if err != nil || len(uses) != callers-1 {
		t.Errorf("%d contexts of ours (%v), want %d", len(uses), err, callers-1)
	}
}

func numberedEntry(i int) Entry {
	name := fmt.Sprintf("profile-%d", i)
	return Entry{ContextName: name, ClusterName: name + "-c", UserName: name + "-u",
		Server:    "https://example.com",
		Namespace: "build", Profile: name, Command: "/usr/bin/sa-exec-credential"}
}
