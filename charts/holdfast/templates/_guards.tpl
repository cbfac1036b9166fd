{{- /* Written from the code by `UPDATE_CHART=1 cargo test --test chart`: not to be edited. */ -}}
{{- define "holdfast.guards" -}}
- apiVersion: admissionregistration.k8s.io/v1
  kind: ValidatingAdmissionPolicy
  metadata:
    annotations:
      holdfast.dev/engine: native
    labels:
      app.kubernetes.io/managed-by: holdfast
    name: holdfast-guard-approval
  spec:
    failurePolicy: Fail
    matchConditions:
    - expression: request.operation == 'CREATE' || object.spec != oldObject.spec
      name: not-holdfast-at-its-own
    matchConstraints:
      matchPolicy: Equivalent
      namespaceSelector: {}
      objectSelector: {}
      resourceRules:
      - apiGroups:
        - holdfast.dev
        apiVersions:
        - v1alpha1
        operations:
        - CREATE
        - UPDATE
        resources:
        - trustapprovals
        scope: "*"
    validations:
    - expression: request.operation == 'CREATE'
      message: "an approval is never changed: make a new one"
      reason: Forbidden
    - expression: object.spec.approver == request.userInfo.username
      message: "`approver` is not you: one approves in one's own name"
      reason: Forbidden
    - expression: "!request.userInfo.username.startsWith('system:serviceaccount:') || request.userInfo.username in {{ include "holdfast.cel.approving" . }}"
      message: a service account does not approve, unless the chart's values list it
      reason: Forbidden
    - expression: "authorizer.group('holdfast.dev').resource((dyn(object.spec)['for'].kind == 'TrustRootMirror' ? 'trustrootmirrors' : dyn(object.spec)['for'].kind == 'SigningIdentityPolicy' ? 'signingidentitypolicies' : 'trustbreakglasses')).name(dyn(object.spec)['for'].name).check('approve').allowed()"
      message: "you may not approve this: RBAC has to give you the verb `approve` on the object"
      reason: Forbidden
    variables:
    - expression: >-
        request.userInfo.username ==
        'system:serviceaccount:{{ .Release.Namespace }}:{{ include "holdfast.serviceAccountName" . }}'
      name: isHoldfast
- apiVersion: admissionregistration.k8s.io/v1
  kind: ValidatingAdmissionPolicy
  metadata:
    annotations:
      holdfast.dev/engine: native
    labels:
      app.kubernetes.io/managed-by: holdfast
    name: holdfast-guard-break-glass
  spec:
    failurePolicy: Fail
    matchConditions: []
    matchConstraints:
      matchPolicy: Equivalent
      namespaceSelector: {}
      objectSelector: {}
      resourceRules:
      - apiGroups:
        - holdfast.dev
        apiVersions:
        - v1alpha1
        operations:
        - CREATE
        resources:
        - trustbreakglasses
        scope: "*"
    validations:
    - expression: object.spec.requestedBy == request.userInfo.username
      message: "`requestedBy` is not you: a break-glass is asked for in one's own name"
      reason: Forbidden
    - expression: timestamp(object.spec.until) > timestamp(object.metadata.creationTimestamp)
      message: "`until` is in the past: give an end that is still to come"
      reason: Forbidden
    - expression: >-
        timestamp(object.spec.until) <= timestamp(object.metadata.creationTimestamp) +
        duration('72h')
      message: "`until` is more than 72 hours ahead: give an earlier end, and a new break-glass when it is not enough"
      reason: Forbidden
    variables:
    - expression: >-
        request.userInfo.username ==
        'system:serviceaccount:{{ .Release.Namespace }}:{{ include "holdfast.serviceAccountName" . }}'
      name: isHoldfast
- apiVersion: admissionregistration.k8s.io/v1
  kind: ValidatingAdmissionPolicy
  metadata:
    annotations:
      holdfast.dev/engine: native
    labels:
      app.kubernetes.io/managed-by: holdfast
    name: holdfast-guard-canaries
  spec:
    failurePolicy: Fail
    matchConditions:
    - expression: >-
        request.userInfo.username ==
        'system:serviceaccount:{{ .Release.Namespace }}:{{ include "holdfast.serviceAccountName" . }}'
      name: by-holdfast
    matchConstraints:
      matchPolicy: Equivalent
      namespaceSelector: {}
      objectSelector: {}
      resourceRules:
      - apiGroups:
        - ""
        apiVersions:
        - v1
        operations:
        - CREATE
        resources:
        - pods
        scope: Namespaced
    validations:
    - expression: has(request.dryRun) && request.dryRun
      message: holdfast makes pods in dry runs alone, to see whether its rules are in force
      reason: Forbidden
    variables:
    - expression: >-
        request.userInfo.username ==
        'system:serviceaccount:{{ .Release.Namespace }}:{{ include "holdfast.serviceAccountName" . }}'
      name: isHoldfast
- apiVersion: admissionregistration.k8s.io/v1
  kind: ValidatingAdmissionPolicy
  metadata:
    annotations:
      holdfast.dev/engine: native
    labels:
      app.kubernetes.io/managed-by: holdfast
    name: holdfast-guard-entry
  spec:
    failurePolicy: Fail
    matchConditions: []
    matchConstraints:
      matchPolicy: Equivalent
      namespaceSelector: {}
      objectSelector: {}
      resourceRules:
      - apiGroups:
        - ""
        apiVersions:
        - v1
        operations:
        - CONNECT
        resources:
        - pods/attach
        - pods/exec
        - pods/portforward
        - pods/proxy
        scope: Namespaced
      - apiGroups:
        - ""
        apiVersions:
        - v1
        operations:
        - UPDATE
        resources:
        - pods/ephemeralcontainers
        scope: Namespaced
    validations:
    - expression: >-
        authorizer.group('holdfast.dev').resource('signingidentitypolicies').check('approve').allowed()
      message: "whoever gets into a pod of this namespace may act as holdfast: RBAC has to give you the verb `approve` on signingidentitypolicies"
      reason: Forbidden
    variables:
    - expression: >-
        request.userInfo.username ==
        'system:serviceaccount:{{ .Release.Namespace }}:{{ include "holdfast.serviceAccountName" . }}'
      name: isHoldfast
- apiVersion: admissionregistration.k8s.io/v1
  kind: ValidatingAdmissionPolicy
  metadata:
    annotations:
      holdfast.dev/engine: native
    labels:
      app.kubernetes.io/managed-by: holdfast
    name: holdfast-guard-memory
  spec:
    failurePolicy: Fail
    matchConditions:
    - expression: >-
        (object != null && (has(object.metadata.labels) && 'holdfast.dev/memory' in
        object.metadata.labels || request.resource.resource == 'configmaps' &&
        ['holdfast-enforced-', 'holdfast-policy-', 'holdfast-trust-memory-', 'holdfast-trust-record-',
        'holdfast-verified'].exists(n, object.metadata.name.startsWith(n)))) ||
        (oldObject != null && (has(oldObject.metadata.labels) && 'holdfast.dev/memory' in
        oldObject.metadata.labels || request.resource.resource == 'configmaps' &&
        ['holdfast-enforced-', 'holdfast-policy-', 'holdfast-trust-memory-', 'holdfast-trust-record-',
        'holdfast-verified'].exists(n, oldObject.metadata.name.startsWith(n))))
      name: holds-memory
    matchConstraints:
      matchPolicy: Equivalent
      namespaceSelector: {}
      objectSelector: {}
      resourceRules:
      - apiGroups:
        - ""
        apiVersions:
        - v1
        operations:
        - CREATE
        - UPDATE
        - DELETE
        resources:
        - configmaps
        - secrets
        scope: Namespaced
    validations:
    - expression: variables.isHoldfast
      message: "what holdfast remembers is written by holdfast alone: without it, old and withdrawn trust could come back"
      reason: Forbidden
    variables:
    - expression: >-
        request.userInfo.username ==
        'system:serviceaccount:{{ .Release.Namespace }}:{{ include "holdfast.serviceAccountName" . }}'
      name: isHoldfast
- apiVersion: admissionregistration.k8s.io/v1
  kind: ValidatingAdmissionPolicy
  metadata:
    annotations:
      holdfast.dev/engine: native
    labels:
      app.kubernetes.io/managed-by: holdfast
    name: holdfast-guard-parameters
  spec:
    failurePolicy: Fail
    matchConditions: []
    matchConstraints:
      matchPolicy: Equivalent
      namespaceSelector: {}
      objectSelector: {}
      resourceRules:
      - apiGroups:
        - holdfast.dev
        apiVersions:
        - v1alpha1
        operations:
        - CREATE
        - UPDATE
        - DELETE
        resources:
        - verifiedimages
        scope: "*"
      - apiGroups:
        - holdfast.dev
        apiVersions:
        - v1alpha1
        operations:
        - UPDATE
        resources:
        - bundlecoveragereports/status
        - signingidentitypolicies/status
        - trustbreakglasses/status
        - trustrootmirrors/status
        scope: "*"
    validations:
    - expression: variables.isHoldfast
      message: "verified digests and status are written by holdfast alone: they decide what is admitted and when it is enforced"
      reason: Forbidden
    variables:
    - expression: >-
        request.userInfo.username ==
        'system:serviceaccount:{{ .Release.Namespace }}:{{ include "holdfast.serviceAccountName" . }}'
      name: isHoldfast
{{- if include "holdfast.releaseDigests" . | fromJsonArray }}
- apiVersion: admissionregistration.k8s.io/v1
  kind: ValidatingAdmissionPolicy
  metadata:
    annotations:
      holdfast.dev/engine: native
    labels:
      app.kubernetes.io/managed-by: holdfast
    name: holdfast-guard-pods
  spec:
    failurePolicy: Fail
    matchConditions:
    - expression: "!(request.operation == 'CREATE' && has(object.metadata.annotations) && 'kubernetes.io/config.mirror' in object.metadata.annotations && has(request.userInfo.groups) && 'system:nodes' in request.userInfo.groups)"
      name: not-the-mirror-pod-of-a-node
    - expression: "(has(object.spec.serviceAccountName) ? object.spec.serviceAccountName : 'default') == '{{ include "holdfast.serviceAccountName" . }}'"
      name: runs-as-holdfast
    - expression: request.operation == 'CREATE' || object.spec != oldObject.spec
      name: says-what-runs
    matchConstraints:
      matchPolicy: Equivalent
      namespaceSelector: {}
      objectSelector: {}
      resourceRules:
      - apiGroups:
        - ""
        apiVersions:
        - v1
        operations:
        - CREATE
        - UPDATE
        resources:
        - pods
        - pods/ephemeralcontainers
        scope: Namespaced
    validations:
    - expression: >-
        request.operation == 'CREATE' && request.userInfo.username in
        ['system:kube-controller-manager', 'system:serviceaccount:kube-system:daemon-set-controller',
        'system:serviceaccount:kube-system:job-controller',
        'system:serviceaccount:kube-system:replicaset-controller',
        'system:serviceaccount:kube-system:replication-controller', 'system:serviceaccount:kube-system:statefulset-controller'] ||
        authorizer.group('holdfast.dev').resource('signingidentitypolicies').check('approve').allowed()
      message: "this pod would act as holdfast: it comes from a workload, or RBAC has to give you the verb `approve` on signingidentitypolicies"
      reason: Forbidden
    - expression: "((has(object.spec.containers) ? object.spec.containers.map(c, has(c.image) ? string(c.image) : '') : []) + (has(object.spec.initContainers) ? object.spec.initContainers.map(c, has(c.image) ? string(c.image) : '') : []) + (has(object.spec.ephemeralContainers) ? object.spec.ephemeralContainers.map(c, has(c.image) ? string(c.image) : '') : []) + (has(object.spec.volumes) ? object.spec.volumes.filter(v, has(v.image)).map(v, v.image).map(c, has(c.reference) ? string(c.reference) : '') : [])).all(i, {{ include "holdfast.cel.release" . }}.exists(d, i.endsWith(d)))"
      message: "this pod would act as holdfast, and an image of it is not of holdfast's release: name it by a digest that the chart's values list"
      reason: Forbidden
    variables:
    - expression: >-
        request.userInfo.username ==
        'system:serviceaccount:{{ .Release.Namespace }}:{{ include "holdfast.serviceAccountName" . }}'
      name: isHoldfast
{{- else }}
- apiVersion: admissionregistration.k8s.io/v1
  kind: ValidatingAdmissionPolicy
  metadata:
    annotations:
      holdfast.dev/engine: native
    labels:
      app.kubernetes.io/managed-by: holdfast
    name: holdfast-guard-pods
  spec:
    failurePolicy: Fail
    matchConditions:
    - expression: "!(request.operation == 'CREATE' && has(object.metadata.annotations) && 'kubernetes.io/config.mirror' in object.metadata.annotations && has(request.userInfo.groups) && 'system:nodes' in request.userInfo.groups)"
      name: not-the-mirror-pod-of-a-node
    - expression: "(has(object.spec.serviceAccountName) ? object.spec.serviceAccountName : 'default') == '{{ include "holdfast.serviceAccountName" . }}'"
      name: runs-as-holdfast
    - expression: request.operation == 'CREATE' || object.spec != oldObject.spec
      name: says-what-runs
    matchConstraints:
      matchPolicy: Equivalent
      namespaceSelector: {}
      objectSelector: {}
      resourceRules:
      - apiGroups:
        - ""
        apiVersions:
        - v1
        operations:
        - CREATE
        - UPDATE
        resources:
        - pods
        - pods/ephemeralcontainers
        scope: Namespaced
    validations:
    - expression: >-
        request.operation == 'CREATE' && request.userInfo.username in
        ['system:kube-controller-manager', 'system:serviceaccount:kube-system:daemon-set-controller',
        'system:serviceaccount:kube-system:job-controller',
        'system:serviceaccount:kube-system:replicaset-controller',
        'system:serviceaccount:kube-system:replication-controller', 'system:serviceaccount:kube-system:statefulset-controller'] ||
        authorizer.group('holdfast.dev').resource('signingidentitypolicies').check('approve').allowed()
      message: "this pod would act as holdfast: it comes from a workload, or RBAC has to give you the verb `approve` on signingidentitypolicies"
      reason: Forbidden
    variables:
    - expression: >-
        request.userInfo.username ==
        'system:serviceaccount:{{ .Release.Namespace }}:{{ include "holdfast.serviceAccountName" . }}'
      name: isHoldfast
{{- end }}
- apiVersion: admissionregistration.k8s.io/v1
  kind: ValidatingAdmissionPolicy
  metadata:
    annotations:
      holdfast.dev/engine: native
    labels:
      app.kubernetes.io/managed-by: holdfast
    name: holdfast-guard-rotation
  spec:
    failurePolicy: Fail
    matchConditions: []
    matchConstraints:
      matchPolicy: Equivalent
      namespaceSelector: {}
      objectSelector: {}
      resourceRules:
      - apiGroups:
        - holdfast.dev
        apiVersions:
        - v1alpha1
        operations:
        - CREATE
        - UPDATE
        resources:
        - trustrootmirrors
        scope: "*"
    validations:
    - expression: "(((has(object.spec.rotation) && has(object.spec.rotation.approvedDigest) ? object.spec.rotation.approvedDigest : '') == '' || (request.operation == 'CREATE' ? false : (has(object.spec.rotation) && has(object.spec.rotation.approvedDigest) ? object.spec.rotation.approvedDigest : '') == (has(oldObject.spec.rotation) && has(oldObject.spec.rotation.approvedDigest) ? oldObject.spec.rotation.approvedDigest : ''))) && ((has(object.spec.rotation) && has(object.spec.rotation.approval) ? object.spec.rotation.approval : 'Required') != 'Automatic' || (request.operation == 'CREATE' ? false : (has(oldObject.spec.rotation) && has(oldObject.spec.rotation.approval) ? oldObject.spec.rotation.approval : 'Required') == 'Automatic')) && ((has(object.spec.rotation) && has(object.spec.rotation.maxNewlyFailing) ? object.spec.rotation.maxNewlyFailing : 0) <= (request.operation == 'CREATE' ? 0 : (has(oldObject.spec.rotation) && has(oldObject.spec.rotation.maxNewlyFailing) ? oldObject.spec.rotation.maxNewlyFailing : 0))) && (request.operation == 'CREATE' || duration((has(object.spec.rotation) && has(object.spec.rotation.removalGrace) ? object.spec.rotation.removalGrace : '72h')) <= duration((has(oldObject.spec.rotation) && has(oldObject.spec.rotation.removalGrace) ? oldObject.spec.rotation.removalGrace : '72h')))) || authorizer.group('holdfast.dev').resource('trustrootmirrors').name(object.metadata.name).check('approve').allowed()"
      message: "`rotation.approvedDigest`, `approval: Automatic`, a higher `maxNewlyFailing` and a longer `removalGrace` let new key material in, or old stay: RBAC has to give you the verb `approve` on this TrustRootMirror"
      reason: Forbidden
    - expression: "(!(has(object.spec.distribution) && has(object.spec.distribution.configMaps)) || (request.operation == 'CREATE' ? false : (has(oldObject.spec.distribution) && has(oldObject.spec.distribution.configMaps)) && object.spec.distribution.configMaps == oldObject.spec.distribution.configMaps)) || authorizer.group('holdfast.dev').resource('trustrootmirrors').name(object.metadata.name).check('approve').allowed()"
      message: "`distribution.configMaps` puts this trust in force in other namespaces, and is new or another one: RBAC has to give you the verb `approve` on this TrustRootMirror"
      reason: Forbidden
    - expression: "(request.operation == 'CREATE' || (has(object.spec.bootstrap) && has(object.spec.bootstrap.rootSHA256) ? object.spec.bootstrap.rootSHA256 : '') == (has(oldObject.spec.bootstrap) && has(oldObject.spec.bootstrap.rootSHA256) ? oldObject.spec.bootstrap.rootSHA256 : '')) || authorizer.group('holdfast.dev').resource('trustrootmirrors').name(object.metadata.name).check('approve').allowed()"
      message: "`bootstrap.rootSHA256` is the root that everything starts from, and another one, or none, lets other key material in: RBAC has to give you the verb `approve` on this TrustRootMirror"
      reason: Forbidden
    - expression: >-
        (request.operation == 'CREATE' || object.spec.source == oldObject.spec.source
        || (has(object.spec.source.oci) && has(oldObject.spec.source.oci) &&
        has(object.spec.source.oci.ref) == has(oldObject.spec.source.oci.ref) &&
        (!has(object.spec.source.oci.ref) || object.spec.source.oci.ref == oldObject.spec.source.oci.ref) &&
        has(object.spec.source.oci.caBundleRef) ==
        has(oldObject.spec.source.oci.caBundleRef) && (!has(object.spec.source.oci.caBundleRef) ||
        object.spec.source.oci.caBundleRef == oldObject.spec.source.oci.caBundleRef) &&
        has(object.spec.source.oci.tokenUrl) == has(oldObject.spec.source.oci.tokenUrl) &&
        (!has(object.spec.source.oci.tokenUrl) || object.spec.source.oci.tokenUrl ==
        oldObject.spec.source.oci.tokenUrl) && has(object.spec.source.oci.redirectHosts) ==
        has(oldObject.spec.source.oci.redirectHosts) && (!has(object.spec.source.oci.redirectHosts) ||
        object.spec.source.oci.redirectHosts == oldObject.spec.source.oci.redirectHosts) &&
        has(object.spec.source.oci.plainHttp) == has(oldObject.spec.source.oci.plainHttp) &&
        (!has(object.spec.source.oci.plainHttp) || object.spec.source.oci.plainHttp ==
        oldObject.spec.source.oci.plainHttp))) ||
        authorizer.group('holdfast.dev').resource('trustrootmirrors').name(object.metadata.name).check('approve').allowed()
      message: "`source` is where key material comes from (all in it counts but `oci.pullSecretRef`), and another one lets other key material in: RBAC has to give you the verb `approve` on this TrustRootMirror"
      reason: Forbidden
    - expression: "(request.operation == 'CREATE' || (duration((has(object.spec.freshness) && has(object.spec.freshness.grace) ? object.spec.freshness.grace : '0s')) <= duration((has(oldObject.spec.freshness) && has(oldObject.spec.freshness.grace) ? oldObject.spec.freshness.grace : '0s')) && ((has(oldObject.spec.freshness) && has(oldObject.spec.freshness.maxAge) ? oldObject.spec.freshness.maxAge : '') == '' || ((has(object.spec.freshness) && has(object.spec.freshness.maxAge) ? object.spec.freshness.maxAge : '') != '' && duration((has(object.spec.freshness) && has(object.spec.freshness.maxAge) ? object.spec.freshness.maxAge : '')) <= duration((has(oldObject.spec.freshness) && has(oldObject.spec.freshness.maxAge) ? oldObject.spec.freshness.maxAge : '')))) && ((has(oldObject.spec.freshness) && has(oldObject.spec.freshness.onStale) ? oldObject.spec.freshness.onStale : 'Alert') == 'Alert' || (has(object.spec.freshness) && has(object.spec.freshness.onStale) ? object.spec.freshness.onStale : 'Alert') == (has(oldObject.spec.freshness) && has(oldObject.spec.freshness.onStale) ? oldObject.spec.freshness.onStale : 'Alert')))) || authorizer.group('holdfast.dev').resource('trustrootmirrors').name(object.metadata.name).check('approve').allowed()"
      message: "a longer `freshness.grace`, a longer `maxAge` or none, and `onStale: Alert` in place of `FailClosed` let old trust count for longer: RBAC has to give you the verb `approve` on this TrustRootMirror"
      reason: Forbidden
    variables:
    - expression: >-
        request.userInfo.username ==
        'system:serviceaccount:{{ .Release.Namespace }}:{{ include "holdfast.serviceAccountName" . }}'
      name: isHoldfast
- apiVersion: admissionregistration.k8s.io/v1
  kind: ValidatingAdmissionPolicy
  metadata:
    annotations:
      holdfast.dev/engine: native
    labels:
      app.kubernetes.io/managed-by: holdfast
    name: holdfast-guard-token-secrets
  spec:
    failurePolicy: Fail
    matchConditions:
    - expression: >-
        (object.type == 'kubernetes.io/service-account-token' &&
        has(object.metadata.annotations) && 'kubernetes.io/service-account.name' in object.metadata.annotations
        && object.metadata.annotations['kubernetes.io/service-account.name'] ==
        '{{ include "holdfast.serviceAccountName" . }}') && (request.operation == 'CREATE' || !(oldObject.type ==
        'kubernetes.io/service-account-token' && has(oldObject.metadata.annotations) &&
        'kubernetes.io/service-account.name' in oldObject.metadata.annotations &&
        oldObject.metadata.annotations['kubernetes.io/service-account.name'] == '{{ include "holdfast.serviceAccountName" . }}'))
      name: asks-for-a-token-of-holdfast
    matchConstraints:
      matchPolicy: Equivalent
      namespaceSelector: {}
      objectSelector: {}
      resourceRules:
      - apiGroups:
        - ""
        apiVersions:
        - v1
        operations:
        - CREATE
        - UPDATE
        resources:
        - secrets
        scope: Namespaced
    validations:
    - expression: "false"
      message: "this Secret would hold a token of holdfast's service account that does not end: holdfast needs none"
      reason: Forbidden
    variables:
    - expression: >-
        request.userInfo.username ==
        'system:serviceaccount:{{ .Release.Namespace }}:{{ include "holdfast.serviceAccountName" . }}'
      name: isHoldfast
- apiVersion: admissionregistration.k8s.io/v1
  kind: ValidatingAdmissionPolicy
  metadata:
    annotations:
      holdfast.dev/engine: native
    labels:
      app.kubernetes.io/managed-by: holdfast
    name: holdfast-guard-tokens
  spec:
    failurePolicy: Fail
    matchConditions:
    - expression: request.name == '{{ include "holdfast.serviceAccountName" . }}'
      name: of-holdfast
    matchConstraints:
      matchPolicy: Equivalent
      namespaceSelector: {}
      objectSelector: {}
      resourceRules:
      - apiGroups:
        - ""
        apiVersions:
        - v1
        operations:
        - CREATE
        resources:
        - serviceaccounts/token
        scope: Namespaced
    validations:
    - expression: has(request.userInfo.groups) && 'system:nodes' in request.userInfo.groups
      message: only a node gets a token of holdfast's service account, for the pod it runs
      reason: Forbidden
    variables:
    - expression: >-
        request.userInfo.username ==
        'system:serviceaccount:{{ .Release.Namespace }}:{{ include "holdfast.serviceAccountName" . }}'
      name: isHoldfast
- apiVersion: admissionregistration.k8s.io/v1
  kind: ValidatingAdmissionPolicy
  metadata:
    annotations:
      holdfast.dev/engine: native
    labels:
      app.kubernetes.io/managed-by: holdfast
    name: holdfast-guard-workloads
  spec:
    failurePolicy: Fail
    matchConditions:
    - expression: "(has((request.kind.kind == 'CronJob' ? dyn(object).spec.jobTemplate.spec.template.spec : request.kind.kind == 'PodTemplate' ? dyn(object).template.spec : dyn(object).spec.template.spec).serviceAccountName) ? (request.kind.kind == 'CronJob' ? dyn(object).spec.jobTemplate.spec.template.spec : request.kind.kind == 'PodTemplate' ? dyn(object).template.spec : dyn(object).spec.template.spec).serviceAccountName : 'default') == '{{ include "holdfast.serviceAccountName" . }}'"
      name: runs-as-holdfast
    - expression: "request.operation == 'CREATE' || (request.kind.kind == 'CronJob' ? dyn(object).spec.jobTemplate.spec.template.spec : request.kind.kind == 'PodTemplate' ? dyn(object).template.spec : dyn(object).spec.template.spec) != (request.kind.kind == 'CronJob' ? dyn(oldObject).spec.jobTemplate.spec.template.spec : request.kind.kind == 'PodTemplate' ? dyn(oldObject).template.spec : dyn(oldObject).spec.template.spec)"
      name: says-what-runs
    matchConstraints:
      matchPolicy: Equivalent
      namespaceSelector: {}
      objectSelector: {}
      resourceRules:
      - apiGroups:
        - ""
        apiVersions:
        - v1
        operations:
        - CREATE
        - UPDATE
        resources:
        - podtemplates
        - replicationcontrollers
        scope: Namespaced
      - apiGroups:
        - apps
        apiVersions:
        - v1
        operations:
        - CREATE
        - UPDATE
        resources:
        - daemonsets
        - deployments
        - replicasets
        - statefulsets
        scope: Namespaced
      - apiGroups:
        - batch
        apiVersions:
        - v1
        operations:
        - CREATE
        - UPDATE
        resources:
        - cronjobs
        - jobs
        scope: Namespaced
    validations:
    - expression: >-
        request.userInfo.username in ['system:kube-controller-manager',
        'system:serviceaccount:kube-system:cronjob-controller',
        'system:serviceaccount:kube-system:deployment-controller'] ||
        authorizer.group('holdfast.dev').resource('signingidentitypolicies').check('approve').allowed()
      message: "pods of this workload would act as holdfast: RBAC has to give you the verb `approve` on signingidentitypolicies"
      reason: Forbidden
    variables:
    - expression: >-
        request.userInfo.username ==
        'system:serviceaccount:{{ .Release.Namespace }}:{{ include "holdfast.serviceAccountName" . }}'
      name: isHoldfast
- apiVersion: admissionregistration.k8s.io/v1
  kind: ValidatingAdmissionPolicyBinding
  metadata:
    annotations:
      holdfast.dev/engine: native
    labels:
      app.kubernetes.io/managed-by: holdfast
    name: holdfast-guard-approval
  spec:
    matchResources:
      matchPolicy: Equivalent
      namespaceSelector: {}
      objectSelector: {}
    policyName: holdfast-guard-approval
    validationActions:
    - Deny
    - Audit
- apiVersion: admissionregistration.k8s.io/v1
  kind: ValidatingAdmissionPolicyBinding
  metadata:
    annotations:
      holdfast.dev/engine: native
    labels:
      app.kubernetes.io/managed-by: holdfast
    name: holdfast-guard-break-glass
  spec:
    matchResources:
      matchPolicy: Equivalent
      namespaceSelector: {}
      objectSelector: {}
    policyName: holdfast-guard-break-glass
    validationActions:
    - Deny
    - Audit
- apiVersion: admissionregistration.k8s.io/v1
  kind: ValidatingAdmissionPolicyBinding
  metadata:
    annotations:
      holdfast.dev/engine: native
    labels:
      app.kubernetes.io/managed-by: holdfast
    name: holdfast-guard-canaries
  spec:
    matchResources:
      matchPolicy: Equivalent
      namespaceSelector: {}
      objectSelector: {}
    policyName: holdfast-guard-canaries
    validationActions:
    - Deny
    - Audit
- apiVersion: admissionregistration.k8s.io/v1
  kind: ValidatingAdmissionPolicyBinding
  metadata:
    annotations:
      holdfast.dev/engine: native
    labels:
      app.kubernetes.io/managed-by: holdfast
    name: holdfast-guard-entry
  spec:
    matchResources:
      matchPolicy: Equivalent
      namespaceSelector:
        matchExpressions:
        - key: kubernetes.io/metadata.name
          operator: In
          values:
          - {{ .Release.Namespace | quote }}
      objectSelector: {}
    policyName: holdfast-guard-entry
    validationActions:
    - Deny
    - Audit
- apiVersion: admissionregistration.k8s.io/v1
  kind: ValidatingAdmissionPolicyBinding
  metadata:
    annotations:
      holdfast.dev/engine: native
    labels:
      app.kubernetes.io/managed-by: holdfast
    name: holdfast-guard-memory
  spec:
    matchResources:
      matchPolicy: Equivalent
      namespaceSelector:
        matchExpressions:
        - key: kubernetes.io/metadata.name
          operator: In
          values:
          - {{ .Release.Namespace | quote }}
      objectSelector: {}
    policyName: holdfast-guard-memory
    validationActions:
    - Deny
    - Audit
- apiVersion: admissionregistration.k8s.io/v1
  kind: ValidatingAdmissionPolicyBinding
  metadata:
    annotations:
      holdfast.dev/engine: native
    labels:
      app.kubernetes.io/managed-by: holdfast
    name: holdfast-guard-parameters
  spec:
    matchResources:
      matchPolicy: Equivalent
      namespaceSelector: {}
      objectSelector: {}
    policyName: holdfast-guard-parameters
    validationActions:
    - Deny
    - Audit
- apiVersion: admissionregistration.k8s.io/v1
  kind: ValidatingAdmissionPolicyBinding
  metadata:
    annotations:
      holdfast.dev/engine: native
    labels:
      app.kubernetes.io/managed-by: holdfast
    name: holdfast-guard-pods
  spec:
    matchResources:
      matchPolicy: Equivalent
      namespaceSelector:
        matchExpressions:
        - key: kubernetes.io/metadata.name
          operator: In
          values:
          - {{ .Release.Namespace | quote }}
      objectSelector: {}
    policyName: holdfast-guard-pods
    validationActions:
    - Deny
    - Audit
- apiVersion: admissionregistration.k8s.io/v1
  kind: ValidatingAdmissionPolicyBinding
  metadata:
    annotations:
      holdfast.dev/engine: native
    labels:
      app.kubernetes.io/managed-by: holdfast
    name: holdfast-guard-rotation
  spec:
    matchResources:
      matchPolicy: Equivalent
      namespaceSelector: {}
      objectSelector: {}
    policyName: holdfast-guard-rotation
    validationActions:
    - Deny
    - Audit
- apiVersion: admissionregistration.k8s.io/v1
  kind: ValidatingAdmissionPolicyBinding
  metadata:
    annotations:
      holdfast.dev/engine: native
    labels:
      app.kubernetes.io/managed-by: holdfast
    name: holdfast-guard-token-secrets
  spec:
    matchResources:
      matchPolicy: Equivalent
      namespaceSelector:
        matchExpressions:
        - key: kubernetes.io/metadata.name
          operator: In
          values:
          - {{ .Release.Namespace | quote }}
      objectSelector: {}
    policyName: holdfast-guard-token-secrets
    validationActions:
    - Deny
    - Audit
- apiVersion: admissionregistration.k8s.io/v1
  kind: ValidatingAdmissionPolicyBinding
  metadata:
    annotations:
      holdfast.dev/engine: native
    labels:
      app.kubernetes.io/managed-by: holdfast
    name: holdfast-guard-tokens
  spec:
    matchResources:
      matchPolicy: Equivalent
      namespaceSelector:
        matchExpressions:
        - key: kubernetes.io/metadata.name
          operator: In
          values:
          - {{ .Release.Namespace | quote }}
      objectSelector: {}
    policyName: holdfast-guard-tokens
    validationActions:
    - Deny
    - Audit
- apiVersion: admissionregistration.k8s.io/v1
  kind: ValidatingAdmissionPolicyBinding
  metadata:
    annotations:
      holdfast.dev/engine: native
    labels:
      app.kubernetes.io/managed-by: holdfast
    name: holdfast-guard-workloads
  spec:
    matchResources:
      matchPolicy: Equivalent
      namespaceSelector:
        matchExpressions:
        - key: kubernetes.io/metadata.name
          operator: In
          values:
          - {{ .Release.Namespace | quote }}
      objectSelector: {}
    policyName: holdfast-guard-workloads
    validationActions:
    - Deny
    - Audit
{{- end }}
