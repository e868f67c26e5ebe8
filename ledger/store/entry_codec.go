package store

import (
	"encoding/binary"
	"fmt"
	"time"

	"tollgate/config/unit"
)

// Field numbers of an entry. They are for ever: a number is never reused.
const (
	fCallID = 1 + iota
	fRequestID
	fCallType
	fStatus
	fStart
	fDuration // End - Start
	fFirst    // FirstToken - Start
	fKey
	fKeyAlias
	fUser
	fTeam
	fTeamAlias
	fOrganization
	fEndUser
	fRequestUser
	fGroup
	fModel
	fModelID
	fProvider
	fAPIBase
	fRegion
	fIP
	fSession
	fTag
	fMetadata
	fRawUsage
	fCharge
	fMax
	fAttempts
	fFallbacks
	fStream
	fCacheHit
	fErrorClass
	fErrorCode
	fErrorMessage
	fNote
	fIncarnation
	fSpendLogsMetadata
	fMaxRetries
	fOverhead
	fNoLog
	fBodiesUnlisted
	fDataRegion
	fTried
	fCacheKey
	fSaved
	fRefused
	fNode
)

// appendEntry encodes everything but Seq (which is the key) and the bodies.
func appendEntry(b []byte, e *Entry) []byte {
	b = append(b, wireVersion)
	b = binary.AppendUvarint(b, fCallID<<1|wireBytes)
	b = append(b, byte(len(e.CallID)))
	b = append(b, e.CallID[:]...)
	b = putString(b, fRequestID, e.RequestID)
	b = putString(b, fCallType, e.CallType)
	b = putString(b, fStatus, e.Status)
	b = putTime(b, fStart, e.Start)
	b = putSpan(b, fDuration, e.Start, e.End)
	b = putSpan(b, fFirst, e.Start, e.FirstToken)
	b = putString(b, fKey, e.Key)
	b = putString(b, fKeyAlias, e.KeyAlias)
	b = putString(b, fUser, e.User)
	b = putString(b, fTeam, e.Team)
	b = putString(b, fTeamAlias, e.TeamAlias)
	b = putString(b, fOrganization, e.Organization)
	b = putString(b, fEndUser, e.EndUser)
	b = putString(b, fRequestUser, e.RequestUser)
	b = putString(b, fGroup, e.Group)
	b = putString(b, fModel, e.Model)
	b = putString(b, fModelID, e.ModelID)
	b = putString(b, fProvider, e.Provider)
	b = putString(b, fAPIBase, e.APIBase)
	b = putString(b, fRegion, e.Region)
	b = putString(b, fIP, e.IP)
	b = putString(b, fSession, e.Session)
	for _, t := range e.Tags {
		b = binary.AppendUvarint(b, fTag<<1|wireBytes)
		b = binary.AppendUvarint(b, uint64(len(t)))
		b = append(b, t...)
	}
	b = putBytes(b, fMetadata, e.Metadata)
	b = putBytes(b, fSpendLogsMetadata, e.SpendLogsMetadata)
	b = putUsage(b, &e.Usage)
	b = putBytes(b, fRawUsage, e.RawUsage)
	b = putCost(b, &e.Cost)
	b = putCharges(b, fCharge, e.Charges)
	b = putInt(b, fMax, int64(e.Max))
	b = putInt(b, fAttempts, int64(e.Attempts))
	b = putInt(b, fMaxRetries, int64(e.MaxRetries))
	b = putInt(b, fFallbacks, int64(e.Fallbacks))
	b = putBool(b, fStream, e.Stream)
	b = putString(b, fCacheHit, e.CacheHit)
	b = putString(b, fCacheKey, e.CacheKey)
	b = putInt(b, fSaved, int64(e.Saved))
	b = putString(b, fErrorClass, e.ErrorClass)
	b = putString(b, fErrorCode, e.ErrorCode)
	b = putString(b, fErrorMessage, e.ErrorMessage)
	b = putInt(b, fOverhead, int64(e.Overhead))
	b = putString(b, fNote, e.Note)
	b = putUint(b, fIncarnation, e.Incarnation)
	b = putBool(b, fNoLog, e.NoLog)
	b = putBool(b, fBodiesUnlisted, e.BodiesUnlisted)
	for _, region := range e.DataRegions { // an empty one too: it allows nothing
		b = binary.AppendUvarint(b, fDataRegion<<1|wireBytes)
		b = binary.AppendUvarint(b, uint64(len(region)))
		b = append(b, region...)
	}
	b = putTried(b, fTried, e.Tried)
	b = putRefused(b, fRefused, e.Refused)
	return putString(b, fNode, e.Node)
}

// putSpan writes a time as its distance from the start of the call: two bytes
// to five instead of nine. A time equal to the start is still written.
func putSpan(b []byte, field int, from, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	d := t.UnixNano()
	if !from.IsZero() {
		d -= from.UnixNano()
	}
	b = binary.AppendUvarint(b, uint64(field)<<1|wireVarint)
	return binary.AppendUvarint(b, uint64(d)<<1^uint64(d>>63))
}

// decodeEntry reads what appendEntry wrote. The entry shares one copy of data.
func decodeEntry(seq uint64, data []byte) (*Entry, error) {
	if len(data) == 0 {
		return nil, fmt.Errorf("%w: entry is empty", ErrCorrupt)
	}
	if data[0] != wireVersion {
		return nil, fmt.Errorf("%w: entry version %d is not known here", ErrCorrupt, data[0])
	}
	e := &Entry{Seq: seq}
	r := reader{b: string(data[1:])}
	var start, span, first int64
	var hasStart, hasSpan, hasFirst bool
	for {
		n, v, s := r.next()
		switch {
		case n == 0:
			if r.err != nil {
				return nil, r.err
			}
			if hasStart {
				e.Start = time.Unix(0, start).UTC()
			}
			if hasSpan {
				e.End = time.Unix(0, start+span).UTC()
			}
			if hasFirst {
				e.FirstToken = time.Unix(0, start+first).UTC()
			}
			return e, nil
		case n >= usageBase && n < costBase:
			readUsage(&e.Usage, n, v, s)
			continue
		case n >= costBase && n < costEnd:
			readCost(&e.Cost, n, v, s)
			continue
		}
		switch n {
		case fCallID:
			if len(s) != len(e.CallID) {
				return nil, fmt.Errorf("%w: call id of %d bytes", ErrCorrupt, len(s))
			}
			copy(e.CallID[:], s)
		case fRequestID:
			e.RequestID = s
		case fCallType:
			e.CallType = s
		case fStatus:
			e.Status = s
		case fStart:
			start, hasStart = unzig(v), true
		case fDuration:
			span, hasSpan = unzig(v), true
		case fFirst:
			first, hasFirst = unzig(v), true
		case fKey:
			e.Key = s
		case fKeyAlias:
			e.KeyAlias = s
		case fUser:
			e.User = s
		case fTeam:
			e.Team = s
		case fTeamAlias:
			e.TeamAlias = s
		case fOrganization:
			e.Organization = s
		case fEndUser:
			e.EndUser = s
		case fRequestUser:
			e.RequestUser = s
		case fGroup:
			e.Group = s
		case fModel:
			e.Model = s
		case fModelID:
			e.ModelID = s
		case fProvider:
			e.Provider = s
		case fAPIBase:
			e.APIBase = s
		case fRegion:
			e.Region = s
		case fIP:
			e.IP = s
		case fSession:
			e.Session = s
		case fTag:
			e.Tags = append(e.Tags, s)
		case fMetadata:
			e.Metadata = bytesOf(s)
		case fSpendLogsMetadata:
			e.SpendLogsMetadata = bytesOf(s)
		case fRawUsage:
			e.RawUsage = bytesOf(s)
		case fCharge:
			c, err := readCharge(s)
			if err != nil {
				return nil, err
			}
			e.Charges = append(e.Charges, c)
		case fMax:
			e.Max = unit.Money(unzig(v))
		case fAttempts:
			e.Attempts = int(unzig(v))
		case fMaxRetries:
			e.MaxRetries = int(unzig(v))
		case fFallbacks:
			e.Fallbacks = int(unzig(v))
		case fStream:
			e.Stream = v != 0
		case fCacheHit:
			e.CacheHit = s
		case fCacheKey:
			e.CacheKey = s
		case fSaved:
			e.Saved = unit.Money(unzig(v))
		case fErrorClass:
			e.ErrorClass = s
		case fErrorCode:
			e.ErrorCode = s
		case fErrorMessage:
			e.ErrorMessage = s
		case fOverhead:
			e.Overhead = time.Duration(unzig(v))
		case fNote:
			e.Note = s
		case fIncarnation:
			e.Incarnation = v
		case fNoLog:
			e.NoLog = v != 0
		case fBodiesUnlisted:
			e.BodiesUnlisted = v != 0
		case fDataRegion:
			e.DataRegions = append(e.DataRegions, s)
		case fTried:
			a, err := readAttempt(s)
			if err != nil {
				return nil, err
			}
			e.Tried = append(e.Tried, a)
		case fRefused:
			no, err := readRefused(s)
			if err != nil {
				return nil, err
			}
			e.Refused = no
		case fNode:
			e.Node = s
		}
	}
}
