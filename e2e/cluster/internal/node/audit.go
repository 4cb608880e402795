package node

// auditPolicy has the API server keep a record of what Weft's own accounts change: who, what and
// when, never the contents, which may be keys. Reviews store nothing: they are questions.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  resources:
  - {group: authentication.k8s.io, resources: [tokenreviews]}
  - {group: authorization.k8s.io, resources: [subjectaccessreviews]}
- level: Metadata
  userGroups: ["system:serviceaccounts:weft-system"]
  verbs: [create, update, patch, delete, deletecollection]
- level: None
`

const auditPolicyFile = "audit-policy.yaml"

// AuditLog is the file to which the API server writes that record, a JSON object on each line.
func (n Node) AuditLog() string { return n.Layout.Path("logs", "audit.log") }

func (n Node) audit() []string {
	return []string{
		"--audit-policy-file=" + n.Layout.Path(auditPolicyFile),
		"--audit-log-path=" + n.AuditLog(),
		"--audit-log-maxsize=1000", // MB: a story reads it whole
	}
}

func (n Node) writeAuditPolicy() error { return n.Layout.Write([]byte(auditPolicy), auditPolicyFile) }
