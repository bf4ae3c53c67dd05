package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const (
	agentNamespace = "edge-eventer"
	agentName      = "edge-eventer"

	// firstToken is how long the agent's first token is valid.
	firstToken = 24 * time.Hour
	// shortestRequest is the shortest validity that TokenRequest grants.
	shortestRequest = 10 * time.Minute
	// leeway is how long after its end the API server still takes a token: go-jose's DefaultLeeway.
	leeway = time.Minute
)

// writeKubeconfigs writes admin.kubeconfig, with the certificate inside, and agent.kubeconfig, which names agent.token.
func (c *controlPlane) writeKubeconfigs() error {
	users := map[string]*clientcmdapi.AuthInfo{
		"admin": {ClientCertificateData: c.admin.certPEM, ClientKeyData: c.admin.keyPEM},
		"agent": {TokenFile: c.path("agent.token")},
	}
	for name, user := range users {
		config := clientcmdapi.NewConfig()
		config.Clusters["cluster"] = &clientcmdapi.Cluster{Server: c.server(), CertificateAuthorityData: c.ca.certPEM}
		config.AuthInfos[name] = user
		config.Contexts[name] = &clientcmdapi.Context{Cluster: "cluster", AuthInfo: name}
		config.CurrentContext = name
		if err := clientcmd.WriteToFile(*config, c.path(name+".kubeconfig")); err != nil {
			return fmt.Errorf("write %s.kubeconfig: %w", name, err)
		}
	}
	return nil
}

// makeIdentity makes the ServiceAccount, what it may do, and its first token.
func (c *controlPlane) makeIdentity(ctx context.Context) error {
	name := metav1.ObjectMeta{Name: agentName}
	if _, err := c.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: agentNamespace}}, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create the namespace: %w", err)
	}
	if err := c.makeServiceAccount(ctx); err != nil {
		return err
	}
	if _, err := c.client.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{
		ObjectMeta: name,
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"get", "list", "watch"}}},
	}, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create the cluster role: %w", err)
	}
	if _, err := c.client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: name,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: agentName},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: agentNamespace, Name: agentName}},
	}, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create the cluster role binding: %w", err)
	}
	if err := c.newToken(ctx, firstToken); err != nil {
		return err
	}
	// The authorizer learns of the binding through a watch.
	return c.waitForAgent(ctx, func(err error) bool { return err == nil })
}

func (c *controlPlane) makeServiceAccount(ctx context.Context) error {
	_, err := c.client.CoreV1().ServiceAccounts(agentNamespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: agentName}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create the service account: %w", err)
	}
	return nil
}

func (c *controlPlane) waitForDefaultServiceAccount(ctx context.Context, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return waitFor(ctx, "the default service account of "+namespace, func(ctx context.Context) error {
		_, err := c.client.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// newToken writes a token of the ServiceAccount that ends after d. One that ends sooner than TokenRequest allows is signed
// here with the API server's key; the leeway is taken off, so that it is refused after d and at most ten seconds
// more, for which the API server remembers a token that was good.
func (c *controlPlane) newToken(ctx context.Context, d time.Duration) error {
	var token string
	if d >= shortestRequest {
		seconds := int64(d / time.Second)
		request, err := c.client.CoreV1().ServiceAccounts(agentNamespace).CreateToken(ctx, agentName, &authenticationv1.TokenRequest{
			Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds},
		}, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("request a token: %w", err)
		}
		token = request.Status.Token
	} else {
		account, err := c.client.CoreV1().ServiceAccounts(agentNamespace).Get(ctx, agentName, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("get the service account: %w", err)
		}
		if token, err = c.signToken(account.UID, time.Now().Add(d-leeway)); err != nil {
			return err
		}
	}
	// Renamed into place, as a kubelet swaps a projected token: no reader ever sees half of one.
	next := c.path("agent.token.next")
	if err := os.WriteFile(next, []byte(token), 0o600); err != nil {
		return fmt.Errorf("write the token: %w", err)
	}
	if err := os.Rename(next, c.path("agent.token")); err != nil {
		return fmt.Errorf("put the token in place: %w", err)
	}
	return nil
}

// signToken makes a token with the claims that TokenRequest would give it.
func (c *controlPlane) signToken(uid types.UID, end time.Time) (string, error) {
	segment := func(v any) (string, error) {
		text, err := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(text), err
	}
	header, err := segment(map[string]string{"alg": "ES256", "typ": "JWT"})
	if err != nil {
		return "", fmt.Errorf("encode a token: %w", err)
	}
	start := end.Add(-time.Hour).Unix()
	claims, err := segment(map[string]any{
		"iss": issuer, "aud": []string{issuer},
		"sub": "system:serviceaccount:" + agentNamespace + ":" + agentName,
		"iat": start, "nbf": start, "exp": end.Unix(),
		"kubernetes.io": map[string]any{
			"namespace":      agentNamespace,
			"serviceaccount": map[string]string{"name": agentName, "uid": string(uid)},
		},
	})
	if err != nil {
		return "", fmt.Errorf("encode a token: %w", err)
	}
	digest := sha256.Sum256([]byte(header + "." + claims))
	r, s, err := ecdsa.Sign(rand.Reader, c.tokenKey, digest[:])
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return header + "." + claims + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// revoke replaces the ServiceAccount by one of the same name, which makes every token of the old one invalid, and waits until
// the API server refuses the token in agent.token. It remembers a good token for ten seconds.
func (c *controlPlane) revoke(ctx context.Context) error {
	if err := c.client.CoreV1().ServiceAccounts(agentNamespace).Delete(ctx, agentName, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("delete the service account: %w", err)
	}
	if err := c.makeServiceAccount(ctx); err != nil {
		return err
	}
	return c.waitForAgent(ctx, apierrors.IsUnauthorized)
}

// waitForAgent waits until the API server's answer to the agent is the wanted one.
func (c *controlPlane) waitForAgent(ctx context.Context, wanted func(error) bool) error {
	token, err := os.ReadFile(c.path("agent.token"))
	if err != nil {
		return fmt.Errorf("read the token: %w", err)
	}
	config := rest.AnonymousClientConfig(c.config)
	config.BearerToken = string(token)
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make the agent's client: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return waitFor(ctx, "the API server to know what the agent may do", func(ctx context.Context) error {
		_, err := client.CoreV1().Events("").List(ctx, metav1.ListOptions{Limit: 1})
		if wanted(err) {
			return nil
		}
		return errors.Join(errors.New("not yet"), err)
	})
}
