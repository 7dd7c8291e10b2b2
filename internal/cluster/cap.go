package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The variables of a cap, in seconds. A later setup reads from them what an earlier one allowed.
const (
	tokenSeconds     = "tokenSeconds"
	bootstrapSeconds = "bootstrapSeconds"
)

// caps limits what the minters can ask for, by ValidatingAdmissionPolicies (KEP-3488). RBAC can say
// for whom a minter can create tokens, but not for how long, and whoever can create tokens can ask
// for 136 years.
func (w Wanted) caps() []Object {
	if !w.Cap {
		return nil
	}
	var objects []Object
	if w.Bootstrap {
		minter := Subject{Namespace: w.Namespace, Name: w.bootstrapAccount()}
		objects = append(objects, w.cap(w.capName(""), minter, w.ServiceAccount, minter.Name)...)
	}
	if w.Minter != nil {
		sum := sha256.Sum256([]byte(w.Minter.Username()))
		name := w.capName(".minter-" + hex.EncodeToString(sum[:5]))
		objects = append(objects, w.cap(name, *w.Minter, w.ServiceAccount)...)
	}
	for i := range objects {
		objects[i].lenient = CapForbidden
	}
	return w.lenient(objects...)
}

// capName is unambiguous, because a namespace's name has no dot.
func (w Wanted) capName(ending string) string {
	return shorten("sa-exec-credential."+w.Namespace+"."+w.ServiceAccount, maxName-len(ending)) +
		ending
}

// cap is one minter's policy and its binding. It looks only at requests for the named accounts: a
// minter that others created may have more to do.
func (w Wanted) cap(name string, minter Subject, accounts ...string) []Object {
	policy := newObject(Ref{Kind: "ValidatingAdmissionPolicy", Name: name}, w.ServiceAccount,
		componentCap).
		with("spec", map[string]any{
			"failurePolicy":    "Fail",
			"matchConstraints": w.tokenRequests(),
			"matchConditions": []any{map[string]any{"name": "minter", "expression": fmt.Sprintf(
				"request.userInfo.username == %s && request.name in %s", quote(minter.Username()), quoteList(accounts))}},
			"variables":   w.limits(),
			"validations": w.validations(),
		})
	binding := newObject(Ref{Kind: "ValidatingAdmissionPolicyBinding", Name: name},
		w.ServiceAccount, componentCap).
		with("spec", map[string]any{"policyName": name, "validationActions": []any{"Deny"}})
	return []Object{policy, binding}
}

func (w Wanted) tokenRequests() map[string]any {
	return map[string]any{
		"namespaceSelector": map[string]any{"matchLabels": map[string]any{"kubernetes.io/metadata.name": w.Namespace}},
		"resourceRules": []any{map[string]any{
			"apiGroups": []any{""}, "apiVersions": []any{"v1"},
			"operations": []any{"CREATE"}, "resources": []any{"serviceaccounts/token"}}},
	}
}

func (w Wanted) limits() []any {
	variables := []any{variable(tokenSeconds, w.Duration)}
	if w.Bootstrap {
		variables = append(variables, variable(bootstrapSeconds, w.BootstrapDuration))
	}
	return variables
}

func variable(name string, d time.Duration) map[string]any {
	return map[string]any{"name": name, "expression": seconds(d)}
}

// validations guard every optional field to its last member: an expression that fails to evaluate
// denies as well, but with words that nobody understands.
func (w Wanted) validations() []any {
	limit := "variables." + tokenSeconds
	if w.Bootstrap {
		limit = fmt.Sprintf("(request.name == %s ? variables.%s : variables.%s)",
			quote(w.bootstrapAccount()), bootstrapSeconds, tokenSeconds)
	}
	return []any{
		map[string]any{
			"expression": "has(object.spec.expirationSeconds) && object.spec.expirationSeconds <= " + limit,
			"message":    "the lifetime asked for exceeds what setup allowed",
			"reason":     "Forbidden",
		},
		map[string]any{
			"expression": "has(object.spec.boundObjectRef) && has(object.spec.boundObjectRef.kind) && " +
				"has(object.spec.boundObjectRef.name) && object.spec.boundObjectRef.kind == 'Secret' && " +
				"object.spec.boundObjectRef.name.startsWith(" +
				quote(devicePrefix(w.ServiceAccount)) + ")",
			"message": "the token is not bound to a device Secret of this account",
			"reason":  "Forbidden",
		},
	}
}

// quote writes a string as a CEL literal. CEL knows every escape that Go writes.
func quote(text string) string { return strconv.Quote(text) }

func quoteList(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = quote(text)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// keepLarger raises the limits of policy to those of a cap that is there: another machine was set
// up with them, and its next mint would fail. It reports whether there was something to raise.
func keepLarger(policy Object, live map[string]any) bool {
	raised := false
	variables, _ := value(policy.content, "spec", "variables").([]any)
	for _, entry := range variables {
		wanted, _ := entry.(map[string]any)
		name := text(wanted, "name")
		if has := limitOf(live, name); has > limitOf(policy.content, name) {
			wanted["expression"] = seconds(has)
			raised = true
		}
	}
	return raised
}

// limitOf reads a limit from a policy; it is zero when there is none.
func limitOf(policy map[string]any, name string) time.Duration {
	variables, _ := value(policy, "spec", "variables").([]any)
	i := slices.IndexFunc(variables, func(entry any) bool {
		m, _ := entry.(map[string]any)
		return text(m, "name") == name
	})
	if i < 0 {
		return 0
	}
	m, _ := variables[i].(map[string]any)
	n, err := strconv.ParseInt(text(m, "expression"), 10, 64)
	// Larger ones cannot be asked for.
	if err != nil || n < 0 || n > 1<<32 {
		return 0
	}
	return time.Duration(n) * time.Second
}
