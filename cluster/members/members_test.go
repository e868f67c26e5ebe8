package members_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster/members"
)

var (
	update = flag.Bool("update", false, "write golden files anew")
	noon   = time.Date(2026, 5, 5, 12, 0, 0, 0, time.UTC)
)

// log applies commands one a minute.
type log struct {
	*members.Applier
	index uint64
	now   time.Time
}

func newLog() *log { return &log{Applier: members.NewApplier(), now: noon} }

func (l *log) do(c members.Command) members.Result {
	l.index++
	l.now = l.now.Add(time.Minute)
	answer := l.Apply(l.index, l.now, members.Version, c.Encode())
	l.Publish()
	r, ok := answer.(members.Result)
	if !ok {
		return members.Result{Refused: "stopped", Message: fmt.Sprint(answer)}
	}
	return r
}

func node(id string) *members.Node {
	return &members.Node{ID: id, Name: "name-" + id, Role: members.RoleNode, Addr: id + ".test:7946", FeatureMin: 1, FeatureMax: 2, KeySum: "sum-" + id}
}

func start(id string, incarnation uint64, nonce string) members.Command {
	n := node(id)
	n.Incarnation, n.Nonce = incarnation, nonce
	return members.Command{Op: members.OpStart, Node: n}
}

func token(id string, uses int, expires time.Time) members.Command {
	return members.Command{Op: members.OpToken, Token: &members.Token{ID: id, SealedKey: "sealed-" + id, Role: members.RoleNode, Uses: uses, Expires: expires}}
}

func admit(id, token string) members.Command {
	return members.Command{Op: members.OpAdmit, Node: node(id), TokenID: token}
}

func founded(t require.TestingT) *log {
	l := newLog()
	r := l.do(members.Command{
		Op: members.OpFound, Node: node("a"), Feature: 1,
		CA: &members.CA{Cert: "cert", SealedKey: "key"}, Key: &members.GossipKey{ID: "k1", Sealed: "s1"},
	})
	require.NoError(t, r.Err())
	require.Equal(t, l.index, r.Index)
	return l
}

func snapshot(a *members.Applier) []byte {
	var b bytes.Buffer
	for kind, data := range a.Snapshot() {
		fmt.Fprintf(&b, "%d %s\n", kind, data)
	}
	return b.Bytes()
}

func records(snapshot []byte) func(yield func(byte, []byte) bool) {
	return func(yield func(byte, []byte) bool) {
		for line := range bytes.Lines(snapshot) {
			if !yield(line[0]-'0', bytes.TrimSuffix(line[2:], []byte("\n"))) {
				return
			}
		}
	}
}

func TestFoundingHappensOnceAndItsRetryAnswersAgain(t *testing.T) {
	l := founded(t)
	again := members.Command{
		Op: members.OpFound, Node: node("a"), Feature: 1,
		CA: &members.CA{Cert: "cert", SealedKey: "key"}, Key: &members.GossipKey{ID: "k1", Sealed: "s1"},
	}
	require.NoError(t, l.do(again).Err())
	again.CA = &members.CA{Cert: "other", SealedKey: "key"}
	require.Equal(t, members.CodeExists, l.do(again).Refused)
	s := l.State()
	require.Equal(t, "cert", s.CA.Cert)
	require.Equal(t, "k1", s.Primary)
	require.EqualValues(t, 1, s.Feature)
	require.Equal(t, 1, s.Len())
}

func TestRefusals(t *testing.T) {
	witness := node("w")
	witness.Role = members.RoleWitness
	far := node("f")
	far.FeatureMin, far.FeatureMax = 2, 3
	back := start("a", 9, "n9")
	back.Node.FeatureMin, back.Node.FeatureMax = 0, 0
	changed := start("a", 9, "n9")
	changed.Node.Role = members.RoleWitness
	long := node("l")
	long.Name = string(bytes.Repeat([]byte("x"), 300))
	for name, c := range map[string]struct {
		before  []members.Command
		command members.Command
		want    members.Code
		says    string
	}{
		"a token used twice":         {[]members.Command{token("t", 1, noon.Add(time.Hour)), admit("b", "t")}, admit("c", "t"), members.CodeTokenUsed, "has been used already"},
		"a token that expired":       {[]members.Command{token("t", 1, noon.Add(3*time.Minute))}, admit("c", "t"), members.CodeTokenExpired, "expired at 2026-05-05 12:03:00 UTC"},
		"a token that was revoked":   {[]members.Command{token("t", 1, noon.Add(time.Hour)), {Op: members.OpRevoke, ID: "t"}}, admit("c", "t"), members.CodeTokenRevoked, "was revoked"},
		"an unknown token":           {nil, admit("c", "t"), members.CodeTokenUnknown, "not known to this cluster"},
		"a token for another role":   {[]members.Command{token("t", 1, noon.Add(time.Hour))}, members.Command{Op: members.OpAdmit, Node: witness, TokenID: "t"}, members.CodeWrongRole, "is for a node"},
		"a member's id again":        {[]members.Command{token("t", 2, noon.Add(time.Hour)), admit("b", "t")}, members.Command{Op: members.OpAdmit, Node: &members.Node{ID: "b", Addr: "x:1", Role: members.RoleNode, FeatureMax: 2, KeySum: "other"}, TokenID: "t"}, members.CodeExists, "is a member already"},
		"a release too new":          {nil, members.Command{Op: members.OpAdmit, Node: far}, members.CodeFeature, "the cluster is at 1"},
		"a removed id":               {[]members.Command{admit("b", ""), {Op: members.OpRemove, ID: "b", Why: "forgotten"}}, admit("b", ""), members.CodeRemoved, "(forgotten)"},
		"a start of a removed id":    {[]members.Command{admit("b", ""), {Op: members.OpRemove, ID: "b", Why: "left"}}, start("b", 2, "n"), members.CodeRemoved, "(left)"},
		"a start of nobody":          {nil, start("b", 2, "n"), members.CodeUnknownNode, "not a member"},
		"an older start":             {[]members.Command{start("a", 5, "n")}, start("a", 4, "m"), members.CodeStaleStart, "has started 5 times"},
		"the same start of a copy":   {[]members.Command{start("a", 5, "n")}, start("a", 5, "m"), members.CodeStaleStart, "another process runs"},
		"a start in another role":    {nil, changed, members.CodeWrongRole, "as a node, not as a witness"},
		"a start of a release gone":  {nil, back, members.CodeFeature, "start a newer release"},
		"a start without a nonce":    {nil, start("a", 5, ""), members.CodeBadCommand, "a nonce"},
		"the last node's removal":    {nil, members.Command{Op: members.OpRemove, ID: "a"}, members.CodeBadCommand, "the last one"},
		"nobody's removal":           {nil, members.Command{Op: members.OpRemove, ID: "z"}, members.CodeUnknownNode, "not a member"},
		"a token that lives long":    {nil, token("t", 1, noon.Add(48*time.Hour)), members.CodeBadCommand, "longest life"},
		"a token born expired":       {nil, token("t", 1, noon), members.CodeBadCommand, "expired already"},
		"a token without uses":       {nil, token("t", 0, noon.Add(time.Hour)), members.CodeBadCommand, "0 uses"},
		"a token's id taken":         {[]members.Command{token("t", 1, noon.Add(time.Hour))}, members.Command{Op: members.OpToken, Token: &members.Token{ID: "t", SealedKey: "x", Role: members.RoleNode, Uses: 1, Expires: noon.Add(time.Hour)}}, members.CodeExists, "is taken"},
		"an unknown token's recall":  {nil, members.Command{Op: members.OpRevoke, ID: "t"}, members.CodeTokenUnknown, "not known"},
		"the primary key's removal":  {nil, members.Command{Op: members.OpKeyRemove, ID: "k1"}, members.CodeKeyInUse, "nodes send with it"},
		"an unknown key's use":       {nil, members.Command{Op: members.OpKeyUse, ID: "k2"}, members.CodeUnknownKey, "not installed"},
		"a level a node cannot read": {nil, members.Command{Op: members.OpFeature, Feature: 3}, members.CodeFeature, "upgrade it first"},
		"a level lowered":            {[]members.Command{{Op: members.OpFeature, Feature: 2}}, members.Command{Op: members.OpFeature, Feature: 1}, members.CodeFeature, "never lowered"},
		"an admission of nothing":    {nil, members.Command{Op: members.OpAdmit}, members.CodeBadCommand, "missing"},
		"a node without an address":  {nil, members.Command{Op: members.OpAdmit, Node: &members.Node{ID: "b", Role: members.RoleNode}}, members.CodeBadCommand, "no address"},
		"a node of no role":          {nil, members.Command{Op: members.OpAdmit, Node: &members.Node{ID: "b", Addr: "x:1", Role: "king"}}, members.CodeBadCommand, "king"},
		"a name without end":         {nil, members.Command{Op: members.OpAdmit, Node: long}, members.CodeBadCommand, "300 bytes long"},
		"a renewal of nobody":        {nil, members.Command{Op: members.OpRenew, Node: &members.Node{ID: "b", Serial: "1", KeySum: "k"}}, members.CodeUnknownNode, "not a member"},
	} {
		t.Run(name, func(t *testing.T) {
			l := founded(t)
			for _, b := range c.before {
				require.NoError(t, l.do(b).Err())
			}
			nodes, tokens := l.State().Nodes(), l.State().Tokens()
			r := l.do(c.command)
			require.Equal(t, c.want, r.Refused, r.Message)
			require.Contains(t, r.Message, c.says)
			var as *members.Error
			require.ErrorAs(t, r.Err(), &as)
			require.Equal(t, nodes, l.State().Nodes(), "a refusal changes nothing")
			require.Equal(t, tokens, l.State().Tokens(), "a refusal changes nothing")
		})
	}
}

func TestRetriedAdmissionAnswersAgainAndUsesTheTokenOnce(t *testing.T) {
	l := founded(t)
	require.NoError(t, l.do(token("t", 2, noon.Add(time.Hour))).Err())
	first := l.do(admit("b", "t"))
	require.NoError(t, first.Err())
	again := l.do(admit("b", "t"))
	require.NoError(t, again.Err())
	require.Equal(t, first.Node, again.Node)
	got, _ := l.State().Token("t")
	require.Equal(t, 1, got.Uses)
	require.NoError(t, l.do(admit("c", "t")).Err())
	require.NoError(t, l.do(admit("b", "t")).Err(), "also when the token is used up")
}

func TestMemberThatLostItsKeyComesBackBehindItsFence(t *testing.T) {
	l := founded(t)
	require.NoError(t, l.do(admit("b", "")).Err())
	require.NoError(t, l.do(start("b", 7, "seven")).Err())
	back := admit("b", "")
	back.Node.KeySum, back.Replaces = "new", "sum-b"
	r := l.do(back)
	require.NoError(t, r.Err())
	require.Equal(t, "new", r.Node.KeySum)
	require.EqualValues(t, 7, r.Node.Incarnation)
	rival := admit("b", "")
	rival.Node.KeySum, rival.Replaces = "rival", "sum-b"
	require.Equal(t, members.CodeExists, l.do(rival).Refused, "of two that take over one comes first")
	require.Equal(t, members.CodeStaleStart, l.do(start("b", 7, "copy")).Refused)
	require.NoError(t, l.do(start("b", 8, "eight")).Err())
	n, _ := l.State().Node("b")
	require.Equal(t, "new", n.KeySum, "a start keeps the certificate's facts")
}

func TestRetriedStartAnswersAgain(t *testing.T) {
	l := founded(t)
	first := l.do(start("a", 3, "n"))
	require.NoError(t, first.Err())
	again := l.do(start("a", 3, "n"))
	require.NoError(t, again.Err())
	require.Equal(t, first.Node.StartedAt, again.Node.StartedAt)
}

func TestTokensArePrunedAnHourAfterTheyExpire(t *testing.T) {
	l := founded(t)
	require.NoError(t, l.do(token("t", 1, noon.Add(10*time.Minute))).Err())
	l.now = noon.Add(69 * time.Minute)
	require.Equal(t, members.CodeTokenExpired, l.do(admit("b", "t")).Refused)
	require.Equal(t, members.CodeTokenUnknown, l.do(admit("b", "t")).Refused)
	_, known := l.State().Token("t")
	require.False(t, known)
}

func TestKeysRotateInThreeSteps(t *testing.T) {
	l := founded(t)
	install := members.Command{Op: members.OpKeyInstall, Key: &members.GossipKey{ID: "k2", Sealed: "s2"}}
	for _, c := range []members.Command{install, install, {Op: members.OpKeyUse, ID: "k2"}, {Op: members.OpKeyRemove, ID: "k1"}, {Op: members.OpKeyRemove, ID: "k1"}} {
		require.NoError(t, l.do(c).Err())
	}
	require.Equal(t, "k2", l.State().Primary)
	require.Equal(t, []members.GossipKey{{ID: "k2", Sealed: "s2"}}, l.State().Keys)
}

func TestRemovedNodesAreRememberedUpToAThousand(t *testing.T) {
	l := founded(t)
	for i := range 1002 {
		id := fmt.Sprintf("n%04d", i)
		require.NoError(t, l.do(admit(id, "")).Err())
		require.NoError(t, l.do(members.Command{Op: members.OpRemove, ID: id, Why: "left"}).Err())
	}
	require.NoError(t, l.do(members.Command{Op: members.OpRemove, ID: "n1001"}).Err(), "a retry")
	_, _, ok := l.State().Removed("n0001")
	require.False(t, ok)
	why, at, ok := l.State().Removed("n1001")
	require.True(t, ok)
	require.Equal(t, "left", why)
	require.True(t, at.After(noon))
	require.Len(t, l.State().Removals(), 1000)
}

func TestRecoveryBeginsANewGenerationWithTheNodesKept(t *testing.T) {
	l := founded(t)
	for _, c := range []members.Command{admit("b", ""), admit("c", ""), token("t", 1, noon.Add(time.Hour))} {
		require.NoError(t, l.do(c).Err())
	}
	before := l.State()
	l.Recover(map[string]bool{"a": true, "c": true})
	s := l.State()
	require.EqualValues(t, before.Generation+1, s.Generation)
	require.Equal(t, 2, s.Len())
	require.Empty(t, s.Tokens())
	_, _, ok := s.Removed("b")
	require.True(t, ok)
	require.Equal(t, 3, before.Len(), "what was published stays")
	require.Equal(t, members.CodeRemoved, l.do(start("b", 9, "n")).Refused)
}

func TestNewerFormsStopTheNode(t *testing.T) {
	for name, do := range map[string]func(*log) any{
		"a payload version": func(l *log) any { return l.Apply(9, noon, members.Version+1, []byte("?")) },
		"an operation": func(l *log) any {
			return l.Apply(9, noon, members.Version, []byte(`{"op":"exile"}`))
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := founded(t)
			before := snapshot(l.Applier)
			err, ok := do(l).(error)
			require.True(t, ok)
			var stop interface{ StopsNode() }
			require.True(t, errors.As(err, &stop))
			require.ErrorContains(t, err, "newer release")
			require.Equal(t, before, snapshot(l.Applier))
		})
	}
	_, err := newLog().Restore(func(yield func(byte, []byte) bool) { yield(99, []byte("{}")) })
	require.ErrorContains(t, err, "kind 99")
}

func TestListenersHearOfPublishedStatesOnly(t *testing.T) {
	l := founded(t)
	var heard []int
	l.OnChange(func(old, new *members.State) { heard = append(heard, old.Len(), new.Len()) })
	for i, id := range []string{"b", "c"} {
		c := admit(id, "")
		l.Apply(uint64(10+i), noon, members.Version, c.Encode())
	}
	require.Empty(t, heard)
	require.Equal(t, 1, l.State().Len())
	l.Publish()
	l.Publish()
	require.Equal(t, []int{1, 3}, heard)

	fresh := newLog()
	fresh.OnChange(func(old, new *members.State) { heard = append(heard, new.Len()) })
	swap, err := fresh.Restore(records(snapshot(l.Applier)))
	require.NoError(t, err)
	require.Zero(t, fresh.State().Len())
	swap()
	fresh.Publish()
	require.Equal(t, []int{1, 3, 3}, heard)
}

// history is a log that meets every operation and leaves every kind of record.
func history(t *testing.T) (*log, [][]byte) {
	l := newLog()
	w := node("w")
	w.Role, w.Region, w.Zone, w.API, w.Build = members.RoleWitness, "eu", "eu-1", "w.test:4000", "v1.0.0"
	wToken := token("tw", 2, noon.Add(10*time.Hour))
	wToken.Token.Role, wToken.Token.By = members.RoleWitness, "admin"
	var log [][]byte
	for _, c := range []members.Command{
		{Op: members.OpFound, Node: node("a"), Feature: 1, CA: &members.CA{Cert: "cert", SealedKey: "key"}, Key: &members.GossipKey{ID: "k1", Sealed: "s1"}},
		start("a", 1, "first"),
		token("t1", 1, noon.Add(time.Hour)), wToken, token("t3", 3, noon.Add(time.Hour)),
		admit("b", "t1"), {Op: members.OpAdmit, Node: w, TokenID: "tw"}, admit("c", ""),
		{Op: members.OpRevoke, ID: "t3"},
		{Op: members.OpRemove, ID: "c", Why: "forgotten"},
		{Op: members.OpKeyInstall, Key: &members.GossipKey{ID: "k2", Sealed: "s2"}},
		{Op: members.OpKeyUse, ID: "k2"},
		{Op: members.OpKeyInstall, Key: &members.GossipKey{ID: "k3", Sealed: "s3"}},
		{Op: members.OpKeyRemove, ID: "k3"},
		{Op: members.OpRenew, Node: &members.Node{ID: "b", Serial: "0102", KeySum: "sum-b2", NotAfter: noon.AddDate(0, 0, 30)}},
		{Op: members.OpFeature, Feature: 2},
	} {
		require.NoError(t, l.do(c).Err())
		log = append(log, c.Encode())
	}
	return l, log
}

func TestGoldenFilesOfTheLastReleaseAreRead(t *testing.T) {
	l, commands := history(t)
	for name, now := range map[string][]byte{
		"commands-v1.golden": append(bytes.Join(commands, []byte("\n")), '\n'),
		"snapshot-v1.golden": snapshot(l.Applier),
	} {
		path := filepath.Join("testdata", name)
		if *update {
			require.NoError(t, os.MkdirAll("testdata", 0o755))
			require.NoError(t, os.WriteFile(path, now, 0o644))
		}
		golden, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, string(golden), string(now), "the form has changed: raise its version and keep reading the old one")
	}

	golden, err := os.ReadFile("testdata/snapshot-v1.golden")
	require.NoError(t, err)
	restored := newLog()
	swap, err := restored.Restore(records(golden))
	require.NoError(t, err)
	swap()
	restored.Publish()
	require.Equal(t, l.State(), restored.State())

	golden, err = os.ReadFile("testdata/commands-v1.golden")
	require.NoError(t, err)
	replayed := newLog()
	for line := range bytes.Lines(golden) {
		c, err := members.Decode(line)
		require.NoError(t, err)
		require.NoError(t, replayed.do(*c).Err())
	}
	require.Equal(t, l.State(), replayed.State())
}
