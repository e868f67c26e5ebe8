package file

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a start warns of and what the page lists is the same.
func TestThePageListsEverySettingWithoutEffect(t *testing.T) {
	raw, err := os.ReadFile("../../docs/configuration.md")
	require.NoError(t, err)
	_, text, ok := strings.Cut(string(raw), "\n## Accepted, but without effect in this release\n")
	require.True(t, ok)
	text, _, _ = strings.Cut(text, "\n## ")
	names := regexp.MustCompile("`([a-z0-9_]+)`")
	listed := map[string][]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)`(, restricting)? \\| (.+) \\|$").FindAllStringSubmatch(text, -1) {
		for _, name := range names.FindAllStringSubmatch(row[3], -1) {
			listed[row[1]+row[2]] = append(listed[row[1]+row[2]], name[1])
		}
	}
	warned := map[string][]string{}
	for section, fields := range unenforced {
		warned[section+", restricting"] = fields
	}
	for section, fields := range inert {
		warned[section] = fields
	}
	for section, fields := range warned {
		require.ElementsMatch(t, fields, listed[section], section)
	}
	require.Len(t, listed, len(warned))
	for _, section := range inertSections {
		require.Contains(t, text, "`"+section+"`")
	}
}

// A name that is not known is warned of as a slip, not as without effect.
func TestSettingsWithoutEffectAreKnownNames(t *testing.T) {
	for _, section := range sectionNames {
		for _, list := range [][]string{inert[section.path], unenforced[section.path]} {
			for _, field := range list {
				require.Truef(t, slices.Contains(section.known, field), "%s.%s", section.path, field)
			}
		}
	}
	for _, section := range inertSections {
		require.Contains(t, knownTop, section)
	}
}
