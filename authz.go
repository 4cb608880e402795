package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/controllers"
	"github.com/weft-mesh/weft/internal/authz"
	"github.com/weft-mesh/weft/internal/authz/journal"
	"github.com/weft-mesh/weft/internal/authz/query"
	"github.com/weft-mesh/weft/internal/authz/replay"
)

const authzUsage = `Usage: weft authz [flags]
       weft authz verify FILE... [--key FILE]
       weft authz replay FILE... --policy FILE...
       weft authz shadow POLICY

  (none)  remember what proxies decide about who may call what, write it down, and answer what they do not decide
  verify  tell whether a decision log is whole: no line edited, left out or moved
  replay  have new policies decide anew what is in a decision log
  shadow  tell which calls a policy in Shadow, namespace/name, would have denied
`

// authzTools are what may follow weft authz.
var authzTools = map[string]func(ctx context.Context, args []string) error{
	"verify": func(_ context.Context, args []string) error { return verifyLog(os.Stdout, args) },
	"replay": func(_ context.Context, args []string) error { return replayLog(os.Stdout, args) },
	"shadow": func(ctx context.Context, args []string) error { return tellShadow(ctx, os.Stdout, args, askAuthz) },
}

func authzCommand(ctx context.Context, args []string) error {
	if len(args) > 0 {
		if tool, is := authzTools[args[0]]; is {
			return tool(ctx, args[1:])
		}
	}
	return remember(ctx, args)
}

// newFlags are those of a command, which tells its usage with them.
func newFlags(name, usage string) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.Usage = func() {
		_, _ = io.WriteString(flags.Output(), usage) // nobody is left to tell
		flags.PrintDefaults()
	}
	return flags
}

// memory are the flags of weft authz.
type memory struct {
	controllers.Authz
	health, metrics       string
	certificate, key      string
	logKey                string
	windowMiB, logFileMiB int
	log                   zap.Options
}

func (m *memory) parse(args []string, files func(string) ([]byte, error)) error {
	flags := newFlags("weft authz", authzUsage)
	flags.StringVar(&m.Address, "address", ":15012", "where proxies tell what they decide")
	flags.StringVar(&m.Check, "check-address", ":15014", "where proxies ask what they do not decide themselves")
	flags.StringVar(&m.Query, "query-address", "127.0.0.1:15013", "where weft why and weft authz shadow ask: a loopback address, whose port they forward")
	flags.StringVar(&m.health, "health-address", ":8081", "where /healthz and /readyz are served")
	flags.StringVar(&m.metrics, "metrics-address", ":8080", "where /metrics is served, by HTTPS, to clients that may get it; 0 for nowhere")
	flags.StringVar(&m.certificate, "tls-cert", "/etc/weft/tls/tls.crt", "`file` with the certificate that is shown to proxies")
	flags.StringVar(&m.key, "tls-key", "/etc/weft/tls/tls.key", "`file` with its key")
	flags.IntVar(&m.Records, "window-records", 50_000, "decisions that are remembered at most")
	flags.IntVar(&m.windowMiB, "window-mib", 128, "what they take at most, in MiB")
	flags.StringVar(&m.Journal.File, "log", "", "`file` that decisions are written to, or - for standard output; none when unset")
	flags.IntVar(&m.Journal.Percent, "log-percent", 100, "of the requests that were let in are written. Those that were not, or that a policy in Shadow would not let in, all are")
	flags.BoolVar(&m.Journal.Chain, "log-chain", false, "have each line carry the hash of the one before it, for weft authz verify")
	flags.StringVar(&m.logKey, "log-key", "", "`file` with the private key, of ed25519 in PEM, that signs chained lines")
	flags.IntVar(&m.logFileMiB, "log-file-mib", 256, "size from which the file is put aside; four such are kept")
	withLog(flags, &m.log)
	withKubeconfig(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown argument %q: see weft authz -h", flags.Arg(0))
	}
	m.Bytes, m.Journal.MaxBytes = m.windowMiB<<20, int64(m.logFileMiB)<<20
	return m.check(files)
}

func (m *memory) check(files func(string) ([]byte, error)) error {
	host, _, err := net.SplitHostPort(m.Query)
	ip, parseErr := netip.ParseAddr(host)
	switch {
	case err != nil || parseErr != nil || !ip.IsLoopback():
		return fmt.Errorf("--query-address %q: write a loopback address and a port, such as 127.0.0.1:15013: who asks there is not asked who it is", m.Query)
	case m.Records < 1 || m.windowMiB < 1 || m.logFileMiB < 1:
		return errors.New("--window-records, --window-mib, --log-file-mib: write 1 or more")
	case m.Journal.Percent < 0 || m.Journal.Percent > 100:
		return fmt.Errorf("--log-percent %d: write 0 to 100", m.Journal.Percent)
	case m.logKey != "" && !m.Journal.Chain:
		return errors.New("--log-key: only chained lines are signed: set --log-chain too")
	case m.Journal.Chain && m.Journal.File == "":
		return errors.New("--log-chain: nothing is written: set --log too")
	case m.logKey == "":
		return nil
	}
	text, err := files(m.logKey)
	if err == nil {
		m.Journal.Key, err = journal.PrivateKey(text)
	}
	if err != nil {
		return fmt.Errorf("--log-key %s: %w", m.logKey, err)
	}
	return nil
}

// remember runs until ctx ends.
func remember(ctx context.Context, args []string) error {
	var m memory
	if err := m.parse(args, os.ReadFile); err != nil {
		return err
	}
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&m.log)))
	scheme, err := controllers.Scheme()
	if err != nil {
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the cluster: %w", err)
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{Scheme: scheme, Cache: controllers.AuthzCache(), HealthProbeBindAddress: m.health, Metrics: metricsAt(m.metrics)})
	if err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	certificate, err := certwatcher.New(m.certificate, m.key)
	if err != nil {
		return fmt.Errorf("read the certificate %s: %w", m.certificate, err)
	}
	m.Certificate = certificate.GetCertificate
	if err := errors.Join(mgr.Add(certificate), mgr.AddHealthzCheck("alive", healthz.Ping), m.Setup(mgr)); err != nil {
		return err
	}
	ctrl.Log.Info("Starting", "version", version)
	return mgr.Start(ctx)
}

// positional are the arguments that are no flags; flags may stand among them. The error is how the command ends.
func positional(flags *flag.FlagSet, args []string) (out []string, err error) {
	for len(args) > 0 {
		switch err := flags.Parse(args); {
		case errors.Is(err, flag.ErrHelp):
			return nil, err
		case err != nil:
			return nil, exit{inError, err}
		}
		if args = flags.Args(); len(args) > 0 {
			out, args = append(out, args[0]), args[1:]
		}
	}
	return out, nil
}

// verifyLog tells whether a log is whole. It ends with 1 if it is not.
func verifyLog(out io.Writer, args []string) error {
	flags := newFlags("weft authz verify", "Usage: weft authz verify FILE... [flags]\n\nTells whether decision logs, the oldest first, are whole. It ends with 0 if they are, with 1 if not, and with 2 on an\nerror.\n\nFlags:\n")
	key := flags.String("key", "", "`file` with the public key, in PEM, that lines are signed by; unset, signatures are not looked at")
	names, err := positional(flags, args)
	switch {
	case err != nil:
		return err
	case len(names) == 0:
		return exit{inError, errors.New("name the decision log: weft authz verify FILE")}
	}
	var v authz.Verifier
	if *key != "" {
		if v.Key, err = publicKey(*key); err != nil {
			return exit{inError, err}
		}
	}
	for _, name := range names {
		broken := false
		err := inFile(name, func(from io.Reader) error {
			return authz.Each(from, func(_ int, line []byte) error {
				err := v.Take(line)
				broken = err != nil
				return err
			})
		})
		switch {
		case broken:
			return exit{notAllowed, fmt.Errorf("%w. Before it, %s", err, v.Verified)}
		case err != nil:
			return exit{inError, err}
		}
	}
	_, err = fmt.Fprintln(out, v.Verified)
	return err
}

func publicKey(file string) (ed25519.PublicKey, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the key: %w", err)
	}
	key, err := journal.PublicKey(text)
	if err != nil {
		return nil, fmt.Errorf("--key %s: %w", file, err)
	}
	return key, nil
}

func inFile(name string, do func(io.Reader) error) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("read the decision log: %w", err)
	}
	defer f.Close()
	if err := do(f); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// replayLog ends with 1 where new policies decide something otherwise.
func replayLog(out io.Writer, args []string) error {
	flags := newFlags("weft authz replay", "Usage: weft authz replay FILE... --policy FILE... [flags]\n\nHas new policies, in the place of those of the same names, decide anew what is in decision logs, the oldest first. It\nends with 0 where all is decided as it was, with 1 where not, and with 2 on an error.\n\nFlags:\n")
	replaced := map[string]*v1alpha1.Authorization{}
	flags.Func("policy", "`file` with new MeshPolicies; several times for several", func(name string) error { return readPolicies(name, replaced) })
	form := flags.String("o", "text", "what is written: text or json")
	names, err := positional(flags, args)
	switch {
	case err != nil:
		return err
	case len(names) == 0 || len(replaced) == 0:
		return exit{inError, errors.New("name the decision log and new policies: weft authz replay FILE --policy FILE")}
	case *form != "text" && *form != "json":
		return exit{inError, fmt.Errorf("-o %q: write text or json", *form)}
	}
	again := replay.New(replaced)
	for _, name := range names {
		if err := inFile(name, func(from io.Reader) error { return authz.Each(from, again.Take) }); err != nil {
			return exit{inError, err}
		}
	}
	outcome := again.Outcome()
	if *form == "json" {
		err = writeJSON(out, outcome)
	} else {
		err = outcome.Write(out)
	}
	switch {
	case err != nil:
		return exit{inError, err}
	case len(outcome.Changed) > 0:
		return exit{code: notAllowed}
	}
	return nil
}

// readPolicies takes the section authorization of all MeshPolicies in a file.
func readPolicies(name string, into map[string]*v1alpha1.Authorization) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	for i, document := range strings.Split("\n"+string(text), "\n---") {
		var p v1alpha1.MeshPolicy
		if strings.TrimSpace(document) == "" {
			continue
		}
		if err := yaml.UnmarshalStrict([]byte(document), &p); err != nil {
			return fmt.Errorf("document %d is no MeshPolicy: %w", i+1, err)
		}
		if p.Kind != "MeshPolicy" || p.Namespace == "" || p.Name == "" || p.Spec.Authorization == nil {
			return fmt.Errorf("document %d: write a MeshPolicy with metadata.namespace, metadata.name and spec.authorization", i+1)
		}
		into[p.Namespace+"/"+p.Name] = p.Spec.Authorization
	}
	return nil
}

func writeJSON(out io.Writer, what any) error {
	text, err := json.MarshalIndent(what, "", "  ")
	if err == nil {
		_, err = fmt.Fprintf(out, "%s\n", text)
	}
	return err
}

// asking has a client of weft authz, as long as what it calls runs.
type asking func(ctx context.Context, do func(query.Client) error) error

// tellShadow tells what a policy would have denied.
func tellShadow(ctx context.Context, out io.Writer, args []string, ask asking) error {
	flags := newFlags("weft authz shadow", "Usage: weft authz shadow POLICY [flags]\n\nTells which calls a MeshPolicy in Shadow, namespace/name, would have denied since weft authz started.\n\nFlags:\n")
	form := flags.String("o", "text", "what is written: text or json")
	withKubeconfig(flags)
	names, err := positional(flags, args)
	switch {
	case err != nil:
		return err
	case len(names) != 1 || strings.Count(names[0], "/") != 1:
		return exit{inError, errors.New("name one policy by its namespace and name: weft authz shadow shop/orders-callers")}
	case *form != "text" && *form != "json":
		return exit{inError, fmt.Errorf("-o %q: write text or json", *form)}
	}
	var tried query.Tried
	err = ask(ctx, func(c query.Client) (err error) {
		tried, err = c.Shadow(ctx, names[0])
		return err
	})
	if err == nil {
		err = writeTried(out, tried, *form == "json")
	}
	if err != nil {
		return exit{inError, err}
	}
	return nil
}

func writeTried(out io.Writer, tried query.Tried, asJSON bool) error {
	if asJSON {
		return writeJSON(out, tried)
	}
	var text strings.Builder
	since := tried.Since.Format(time.RFC3339)
	if len(tried.Calls) == 0 {
		fmt.Fprintf(&text, "MeshPolicy %s would have denied nothing that weft authz has heard of since %s\n", tried.Policy, since)
		if others := slices.DeleteFunc(tried.Policies, func(p string) bool { return p == tried.Policy }); len(others) > 0 {
			fmt.Fprintf(&text, "these would have: %s\n", strings.Join(others, ", "))
		}
	} else {
		fmt.Fprintf(&text, "MeshPolicy %s would have denied, since %s:\n", tried.Policy, since)
	}
	for _, c := range tried.Calls {
		where := fmt.Sprintf("%s:%d", c.Called, c.Port)
		if c.Route != "" {
			where = c.Called + " by " + c.Route
		}
		fmt.Fprintf(&text, "%8d  %s %s  called by %s  rule %s  last %s of %s\n", c.Count, c.Method, where, c.Caller, c.Rule, c.ID, c.Path)
	}
	if tried.Others > 0 {
		fmt.Fprintf(&text, "%8d  of other kinds of calls\n", tried.Others)
	}
	_, err := io.WriteString(out, text.String())
	return err
}
