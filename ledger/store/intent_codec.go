package store

import (
	"encoding/binary"
	"fmt"

	"tollgate/config/unit"
)

// Field numbers of an intent.
const (
	iCallID = 1 + iota
	iIncarnation
	iAt
	iMax
	iKey
	iUser
	iTeam
	iEndUser
	iGroup
	iCallType
	iDeployment
	iCharge
)

// maxIntentText bounds each text of an intent. Ids that the management API and
// request checks let through are far shorter; what is cut here only names a row.
const maxIntentText = 4096

func clipText(s string) string {
	if len(s) > maxIntentText {
		return s[:maxIntentText]
	}
	return s
}

// appendIntent encodes an intent whole. Nothing in it is cut to fit a slot: a
// row charged to half an id would be charged to nobody.
func appendIntent(b []byte, in *Intent) []byte {
	b = append(b, wireVersion)
	b = binary.AppendUvarint(b, iCallID<<1|wireBytes)
	b = append(b, byte(len(in.CallID)))
	b = append(b, in.CallID[:]...)
	b = putUint(b, iIncarnation, in.Incarnation)
	b = putTime(b, iAt, in.At)
	b = putInt(b, iMax, int64(in.Max))
	b = putCharges(b, iCharge, in.Charges)
	b = putString(b, iKey, clipText(in.Key))
	b = putString(b, iUser, clipText(in.User))
	b = putString(b, iTeam, clipText(in.Team))
	b = putString(b, iEndUser, clipText(in.EndUser))
	b = putString(b, iGroup, clipText(in.Group))
	b = putString(b, iCallType, clipText(in.CallType))
	return putString(b, iDeployment, clipText(in.Deployment))
}

func decodeIntent(data []byte) (*Intent, error) {
	if len(data) == 0 {
		return nil, fmt.Errorf("%w: intent is empty", ErrCorrupt)
	}
	if data[0] != wireVersion {
		return nil, fmt.Errorf("%w: intent version %d is not known here", ErrCorrupt, data[0])
	}
	in := &Intent{}
	r := reader{b: string(data[1:])}
	for {
		n, v, s := r.next()
		switch n {
		case 0:
			if r.err != nil {
				return nil, r.err
			}
			return in, nil
		case iCallID:
			if len(s) != len(in.CallID) {
				return nil, fmt.Errorf("%w: call id of %d bytes", ErrCorrupt, len(s))
			}
			copy(in.CallID[:], s)
		case iIncarnation:
			in.Incarnation = v
		case iAt:
			in.At = timeOf(v)
		case iMax:
			in.Max = unit.Money(unzig(v))
		case iKey:
			in.Key = s
		case iUser:
			in.User = s
		case iTeam:
			in.Team = s
		case iEndUser:
			in.EndUser = s
		case iGroup:
			in.Group = s
		case iCallType:
			in.CallType = s
		case iDeployment:
			in.Deployment = s
		case iCharge:
			c, err := readCharge(s)
			if err != nil {
				return nil, err
			}
			in.Charges = append(in.Charges, c)
		}
	}
}
