package manual

type note struct{ name, text string }

// exitStatus is what scripts may rely on; a test compares it with what the other pages say.
var exitStatus = []note{
	{"0", "done"},
	{"1", "unexpected"},
	{"2", "usage"},
	{"3", "profile missing, untrusted file, or a cluster that is not the profile's"},
	{"4", "bootstrap credential missing, expired or refused"},
	{"5", "API server unreachable or failing"},
	{"6", "store unavailable, locked or too slow"},
	{"7", "forbidden by RBAC or admission"},
}

var environment = []note{
	{"KUBECONFIG", "The files that setup and other commands of a person read and write, as " +
		"kubectl does. A get ignores it."},
	{"KUBERNETES_EXEC_INFO", "What a client says of itself and of its cluster, to a get."},
	{"XDG_CONFIG_HOME, XDG_STATE_HOME, XDG_CACHE_HOME, XDG_RUNTIME_DIR",
		"Where the files below are."},
	{"NO_COLOR", "Not empty: no colours on a terminal."},
}

var places = []note{
	{"~/.config/sa-exec-credential/", "Profiles and devices. There is no secret in them."},
	{"~/.local/state/sa-exec-credential/sealed/", "Secrets of the store sealed, which only " +
		"this machine can open."},
	{"$XDG_RUNTIME_DIR/sa-exec-credential/", "Locks and records of calls. There is no secret " +
		"in them."},
}
