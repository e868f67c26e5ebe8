package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"time"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/refusal"
)

// Roles of users, as LiteLLM names them.
const (
	RoleAdmin          = "proxy_admin"
	RoleAdminViewer    = "proxy_admin_viewer"
	RoleInternal       = "internal_user"
	RoleInternalViewer = "internal_user_viewer"
	RoleOrgAdmin       = "org_admin" // manages the organizations that its memberships say
)

// MasterKeyAlias stands for the master key in spend rows: its hash is not told.
const MasterKeyAlias = "litellm_proxy_master_key"

// DefaultUserID owns what the master key does.
const DefaultUserID = "default_user_id"

// Principal is who calls: a key with its owners, or the master key.
type Principal struct {
	Master bool
	Role   string
	Key    *model.Key // nil for the master key and for keyless calls
	User   *model.User
	Team   *model.Team
	Member *model.Member
	// KeyBudget and MemberBudget are the budget rows that the key and the
	// membership point at.
	KeyBudget    *model.Budget
	MemberBudget *model.Budget
	Organization *model.Organization // of the key, or of its team
	OrgBudget    *model.Budget       // the row that it points at
	OrgAdmin     bool                // the key's user manages an organization
	Public       bool                // a keyless call on a public route
}

// KeyHash names the caller in the ledger.
func (p *Principal) KeyHash() string {
	switch {
	case p.Master:
		return MasterKeyAlias
	case p.Key != nil:
		return p.Key.Hash
	}
	return ""
}

// Admin reports whether the caller may manage everything.
func (p *Principal) Admin() bool { return p.Master || p.Role == RoleAdmin }

// UserID is the owner's id; "" when there is none.
func (p *Principal) UserID() string {
	switch {
	case p.Master:
		return DefaultUserID
	case p.Key != nil:
		return p.Key.UserID
	}
	return ""
}

// Identify finds the principal behind a key. Order and words are LiteLLM's:
// master key, prefix, look-up, blocked. Expiry and model rights come later
// (MayCall), because LiteLLM reports a disallowed model before an expired key.
func Identify(s *state.Snapshot, masterHash string, key []byte, now time.Time, compatOld bool) (Principal, *refusal.Refusal) {
	sum := sha256.Sum256(key)
	var text [64]byte
	hex.Encode(text[:], sum[:])
	if masterHash != "" && subtle.ConstantTimeCompare(text[:], []byte(masterHash)) == 1 {
		return Principal{Master: true, Role: RoleAdmin}, nil
	}
	if len(key) < 3 || string(key[:3]) != "sk-" {
		msg := "LiteLLM Virtual Key expected. Received=" + masked(key) + ", expected to start with 'sk-'."
		if compatOld {
			msg = "Authentication Error, " + msg
		}
		// It may be a master key that was set elsewhere a moment ago.
		return Principal{}, refusal.New(401, "auth_error", refusal.None, msg).Lift()
	}
	k, ok := s.KeyFor(string(text[:]), now)
	if !ok {
		return Principal{}, refusal.New(401, "token_not_found_in_db", "key", fmt.Sprintf(
			"Authentication Error, Invalid proxy server token passed. Received API Key = %s, Key Hash (Token) =%s. Unable to find token in cache or `LiteLLM_VerificationTokenTable`",
			Abbreviated(key), text[:])).Lift()
	}
	return OfKey(s, k)
}

// OfKey resolves a key's owners.
func OfKey(s *state.Snapshot, k *model.Key) (Principal, *refusal.Refusal) {
	p := Principal{Key: k, Role: RoleInternal}
	if k.Blocked {
		return p, refusal.New(401, "auth_error", refusal.None,
			"Authentication Error, Key is blocked. Update via `/key/unblock` if you're an admin.").Lift()
	}
	if k.UserID != "" {
		if u, ok := s.Users.Get(k.UserID); ok {
			p.User = u
			if u.Role != "" {
				p.Role = u.Role
			}
			if u.Blocked {
				return p, refusal.New(401, "auth_error", refusal.None,
					"Authentication Error, User="+u.ID+" is deactivated. An admin can reactivate the user.").Lift()
			}
		}
	}
	if k.TeamID != "" {
		if t, ok := s.Teams.Get(k.TeamID); ok {
			p.Team = t
		}
		if k.UserID != "" {
			if m, ok := s.Members.Get(model.MemberID(k.TeamID, k.UserID)); ok {
				p.Member = m
				id := m.BudgetID
				if id == "" && p.Team != nil {
					id = p.Team.MemberBudgetID
				}
				if b, ok := s.Budgets.Get(id); ok {
					p.MemberBudget = b
				}
			}
		}
	}
	if k.BudgetID != "" {
		if b, ok := s.Budgets.Get(k.BudgetID); ok {
			p.KeyBudget = b
		}
	}
	p.findOrganization(s)
	return p, nil
}

// Expired refuses a key whose time is over.
func (p *Principal) Expired(now time.Time) *refusal.Refusal {
	if p.Key == nil || p.Key.Expires == nil || now.Before(*p.Key.Expires) {
		return nil
	}
	const layout = "2006-01-02 15:04:05.000000-07:00"
	return refusal.New(401, "expired_key", p.Key.Name, fmt.Sprintf(
		"Authentication Error - Expired Key. Key Expiry time %s and current time %s",
		p.Key.Expires.UTC().Format(layout), now.UTC().Format(layout))).Lift()
}
