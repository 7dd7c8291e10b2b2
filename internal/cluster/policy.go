package cluster

import (
	"fmt"
	"strconv"
)

// The one policy of a cluster, and the ConfigMap of limits that it reads. They are in force for
// every account that setup has prepared: RBAC can say for whom a device may create tokens, but
// not for how long, to what it has to be bound, or that nobody else acts in its name.
const (
	policyName      = "sa-exec-credential"
	limitsNamespace = "sa-exec-credential"
	limitsName      = "limits"
)

// policyVersion is that of the expressions below. A policy that a newer version of this program
// applied stays as it is.
const policyVersion = 2

const versionAnnotation = "sa-exec-credential/policy-version"

// The parts of the policy's expressions (CEL), which its match conditions cannot share by a
// variable.
const (
	prefixSA = "system:serviceaccount:"
	isDevice = "request.userInfo.username.matches('^" + prefixSA + "[^:]+:.+" +
		devicePattern + "')"
	// 22: len(prefixSA)
	accountKey = "request.userInfo.username.substring(22).replace(':', '.')"
	isManaged  = "request.userInfo.username.startsWith('" + prefixSA + "') && " +
		"has(params.data) && " + accountKey + " in params.data"
	isTokenRequest = "request.resource.resource == 'serviceaccounts' && " +
		"has(request.subResource) && request.subResource == 'token'"
	// see minterLines
	mintersKey = "(request.namespace + '.' + request.name + '" + mintersSuffix + "')"
	lineOfUser = "(l.substring(l.indexOf(' ') + 1) == 'user:' + request.userInfo.username || " +
		"has(request.userInfo.groups) && request.userInfo.groups.exists(g, " +
		"l.substring(l.indexOf(' ') + 1) == 'group:' + g))"
	isMinter = isTokenRequest + " && has(params.data) && " + mintersKey + " in params.data && " +
		"params.data[" + mintersKey + "].split('\\n').exists(l, " + lineOfUser + ")"
)

// policyObjects are the policy (KEP-3488) and its binding. Whoever is not allowed to create them
// prepares an account without limits, and is told so.
func policyObjects() []Object {
	policy := newObject(Ref{Kind: "ValidatingAdmissionPolicy", Name: policyName}, "",
		componentPolicy).
		with("spec", map[string]any{
			"failurePolicy":    "Fail",
			"paramKind":        map[string]any{"apiVersion": "v1", "kind": "ConfigMap"},
			"matchConstraints": map[string]any{"resourceRules": policyResources()},
			"matchConditions": []any{map[string]any{
				"name":       "device-minter-or-managed-account",
				"expression": isDevice + " || " + isManaged + " || " + isMinter}},
			"variables":   policyVariables(),
			"validations": policyValidations(),
		})
	policy.annotate(versionAnnotation, strconv.Itoa(policyVersion))
	binding := newObject(Ref{Kind: "ValidatingAdmissionPolicyBinding", Name: policyName}, "",
		componentPolicy).
		with("spec", map[string]any{
			"policyName": policyName,
			// With "Deny", a cluster whose limits somebody deletes would create no
			// token for any pod.
			"paramRef": map[string]any{"namespace": limitsNamespace, "name": limitsName,
				"parameterNotFoundAction": "Allow"},
			"validationActions": []any{"Deny"},
		})
	objects := []Object{policy, binding}
	for i := range objects {
		objects[i].lenient = LimitsForbidden
	}
	return objects
}

// isNewer reports whether a newer version of this program has applied the policy that is there.
func isNewer(object Object, live map[string]any) bool {
	theirs, err := strconv.Atoi(text(live, "metadata", "annotations", versionAnnotation))
	return object.Ref().Kind == "ValidatingAdmissionPolicy" && err == nil &&
		theirs > policyVersion
}

func policyResources() []any {
	rule := func(group string, operations []any, resources ...any) map[string]any {
		return map[string]any{"apiGroups": []any{group}, "apiVersions": []any{"v1"},
			"operations": operations, "resources": resources}
	}
	write := []any{"CREATE", "UPDATE", "DELETE"}
	return []any{
		rule("", []any{"CREATE"}, "serviceaccounts/token"),
		rule("", write, "secrets", "serviceaccounts"),
		rule("rbac.authorization.k8s.io", write, "roles", "rolebindings"),
	}
}

// policyVariables read who asks, and the limits of the account: "tokenSeconds=N bootstrapSeconds=N
// audiences=A,B". An account that contains "-device-" cannot be set up, so the name tells it. A
// namespace can contain it, but no dot.
func policyVariables() []any {
	limit := func(field string) string {
		return fmt.Sprintf("int(variables.limits.filter(l, "+
			"l.startsWith('%s='))[0].substring(%d))", field, len(field)+1)
	}
	list := [][2]string{
		{"user", "request.userInfo.username.startsWith('" + prefixSA + "') ? " +
			"request.userInfo.username.substring(22).split(':') : " +
			"['', request.userInfo.username]"},
		{"isDevice", isDevice},
		// whom minters act as: NAMESPACE.DEVICE in the namespace of the limits
		{"isActed", "variables.isDevice && variables.user[0] == '" + limitsNamespace +
			"' && variables.user[1].contains('.')"},
		{"isMinter", "!variables.isDevice && " + isMinter},
		{"home", "variables.isMinter ? request.namespace : " +
			"variables.isActed ? variables.user[1].split('.')[0] : variables.user[0]"},
		{"device", "variables.isActed ? " +
			"variables.user[1].substring(variables.home.size() + 1) : " +
			"variables.user[1]"},
		{"account", "variables.isMinter ? request.name : variables.isDevice ? " +
			"variables.device.split('-device-')[0] : variables.user[1]"},
		{"key", "variables.home + '.' + variables.account"},
		{"limits", "(variables.key in params.data ? params.data[variables.key] : " +
			"params.data['default']).split(' ')"},
		{"isForDevice", "variables.isDevice && !variables.isActed && " +
			"request.name == variables.device"},
		{"seconds", "variables.isForDevice ? " + limit("bootstrapSeconds") + " : " +
			limit("tokenSeconds")},
		{"apiAudiences", "'apiAudiences' in params.data ? " +
			"params.data['apiAudiences'].split(' ') : []"},
		{"audiences", "variables.isForDevice ? variables.apiAudiences : " +
			"variables.apiAudiences + " +
			"variables.limits.filter(l, l.startsWith('audiences='))[0].substring(10).split(',').filter(a, a != '')"},
		{"isTokenRequest", isTokenRequest},
		{"isMint", "variables.isTokenRequest && (variables.isDevice || variables.isMinter)"},
		{"objectName", "object != null && has(object.metadata.name) ? " +
			"object.metadata.name : " +
			"oldObject != null ? oldObject.metadata.name : request.name"},
	}
	variables := make([]any, len(list))
	for i, v := range list {
		variables[i] = map[string]any{"name": v[0], "expression": v[1]}
	}
	return variables
}

// policyValidations guard every optional field to its last member: an expression that fails to
// evaluate denies as well, but with words that nobody understands.
func policyValidations() []any {
	const (
		bound    = "object.spec.boundObjectRef"
		mints    = "!variables.isMint || "
		impostor = "authentication.kubernetes.io/credential-id"
		lines    = "params.data[" + mintersKey + "].split('\\n')"
	)
	list := [][2]string{
		{mints + "(request.namespace == variables.home && (variables.isForDevice || " +
			"request.name == variables.account))",
			"a device requests tokens for its own account and for itself only"},
		// The API server puts this into a genuine ServiceAccount token's extra; an
		// impersonated request has none. Whom minters act as has no token.
		{mints + "variables.isMinter || variables.isActed || " +
			"(has(request.userInfo.extra) && '" + impostor +
			"' in request.userInfo.extra)",
			"a device cannot be impersonated"},
		{mints + fmt.Sprintf("(has(%[1]s) && has(%[1]s.kind) && has(%[1]s.name) && "+
			"%[1]s.kind == 'Secret' && (variables.isMinter ? "+
			"%[2]s.exists(l, l.startsWith(%[1]s.name + ' ') && %[3]s) : "+
			"%[1]s.name == variables.device))", bound, lines, lineOfUser),
			"the token is not bound to the device's own Secret"},
		{mints + "(has(object.spec.expirationSeconds) && object.spec.expirationSeconds " +
			"<= variables.seconds)",
			"the lifetime asked for exceeds what setup allowed"},
		{mints + "(!has(object.spec.audiences) || object.spec.audiences.all(a, a in " +
			"variables.audiences))",
			"setup did not allow this audience"},
		{"!variables.isTokenRequest || variables.isMint || " +
			"request.namespace != variables.user[0]",
			"an account that sa-exec-credential manages requests no tokens in its " +
				"own namespace"},
		{"request.resource.resource != 'secrets' || request.operation == 'DELETE' || " +
			"!has(object.type) || object.type != 'kubernetes.io/service-account-token'",
			"an account that sa-exec-credential manages creates no long-lived tokens"},
		{"variables.isTokenRequest || !variables.objectName.matches('^.+" + devicePattern +
			"')",
			"only an administrator changes devices"},
	}
	validations := make([]any, len(list))
	for i, v := range list {
		validations[i] = map[string]any{"expression": v[0], "message": v[1],
			"reason": "Forbidden"}
	}
	return validations
}
