package host

import (
	"bufio"
	"context"
	"fmt"
	"strings"
)

// Ask asks a person at the terminal a question that is answered with yes or no; anything else than
// yes is a no, and so is the end of the input. Of a ctx that ends meanwhile it is the error.
func (h *Host) Ask(ctx context.Context, question string) (agreed bool, err error) {
	release, err := h.TakeTerminal(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	if _, err := fmt.Fprintf(h.Stderr, "%s [y/N] ", question); err != nil {
		return false, err
	}
	answered := make(chan string, 1)
	go func() { // a read of a terminal cannot be interrupted
		line, _ := bufio.NewReader(h.Stdin).ReadString('\n')
		answered <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case answer := <-answered:
		return answer == "y" || answer == "yes", nil
	case <-ctx.Done():
		_, _ = fmt.Fprintln(h.Stderr)
		return false, ctx.Err()
	}
}
