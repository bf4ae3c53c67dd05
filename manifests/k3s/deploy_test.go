package k3s_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	k3s "github.com/k3s-io/api/k3s.cattle.io/v1"
	"github.com/rancher/wrangler/v3/pkg/apply"
	"github.com/rancher/wrangler/v3/pkg/objectset"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// kindsAnnotation holds the kinds that a file had, so that the last object of a kind is found when it goes from the file.
const kindsAnnotation = "addon.k3s.cattle.io/gvks"

var (
	addons = schema.GroupVersionResource{Group: "k3s.cattle.io", Version: "v1", Resource: "addons"}
	events = schema.GroupVersionResource{Version: "v1", Resource: "events"}
	crds   = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
)

// deployer applies the files of a folder as a K3s server does.
type deployer struct {
	dir    string
	client dynamic.Interface
	apply  apply.Apply
	read   map[string]time.Time // when a file that was read was last changed
}

func newDeployer(dir string, config *rest.Config) (*deployer, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	disco, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	return &deployer{dir, client, apply.New(disco, apply.NewClientFactory(config)).WithDynamicLookup(), map[string]time.Time{}}, nil
}

// poll looks at every file once, which K3s does every 15 seconds; start applies what did not change too.
func (d *deployer) poll(ctx context.Context, start bool) error {
	var all error
	err := filepath.WalkDir(d.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), ".") ||
			!slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)) {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if !start && info.ModTime().Equal(d.read[path]) {
			return nil
		}
		if err := d.deploy(ctx, path, start); err != nil {
			// The next look tries again.
			all = errors.Join(all, fmt.Errorf("%s: %w", entry.Name(), err))
			return nil
		}
		d.read[path] = info.ModTime()
		return nil
	})
	return errors.Join(all, err)
}

// deploy applies one file, unless its Addon says that the same content was applied already.
func (d *deployer) deploy(ctx context.Context, path string, force bool) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	checksum := hex.EncodeToString(sum[:])
	name, _, _ := strings.Cut(filepath.Base(path), ".")
	addon, err := d.addon(ctx, name)
	if err != nil {
		return err
	}
	if !force && addon.Spec.Checksum == checksum {
		return nil
	}
	objects, err := decode(text)
	if err != nil {
		return errors.Join(err, d.warn(ctx, addon, "ParseManifestFailed", err))
	}
	var kinds []schema.GroupVersionKind
	for kind := range strings.SplitSeq(addon.Annotations[kindsAnnotation], ";") {
		if gvk, _ := schema.ParseKindArg(kind); gvk != nil {
			kinds = append(kinds, *gvk)
		}
	}
	if err := d.apply.WithOwner(addon).WithGVK(kinds...).Apply(objects); err != nil {
		return errors.Join(err, d.warn(ctx, addon, "ApplyManifestFailed", err))
	}
	var now []string
	for _, gvk := range objects.GVKs() {
		now = append(now, gvk.Kind+"."+gvk.Version+"."+gvk.Group)
	}
	slices.Sort(now)
	addon.Annotations = map[string]string{kindsAnnotation: strings.Join(now, ";")}
	addon.Spec.Source, addon.Spec.Checksum = path, checksum
	return d.save(ctx, addon)
}

// addon finds or makes the Addon of a file.
func (d *deployer) addon(ctx context.Context, name string) (*k3s.Addon, error) {
	addon := &k3s.Addon{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: metav1.NamespaceSystem}}
	got, err := d.client.Resource(addons).Namespace(metav1.NamespaceSystem).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return addon, d.save(ctx, addon)
	}
	if err != nil {
		return nil, err
	}
	return addon, runtime.DefaultUnstructuredConverter.FromUnstructured(got.Object, addon)
}

// save writes an Addon and takes over what the API server made of it: the UID is the owner's.
func (d *deployer) save(ctx context.Context, addon *k3s.Addon) error {
	addon.TypeMeta = metav1.TypeMeta{APIVersion: addons.GroupVersion().String(), Kind: "Addon"}
	o, err := runtime.DefaultUnstructuredConverter.ToUnstructured(addon)
	if err != nil {
		return err
	}
	resource := d.client.Resource(addons).Namespace(metav1.NamespaceSystem)
	send := func() (*unstructured.Unstructured, error) {
		return resource.Update(ctx, &unstructured.Unstructured{Object: o}, metav1.UpdateOptions{})
	}
	if addon.UID == "" {
		send = func() (*unstructured.Unstructured, error) {
			return resource.Create(ctx, &unstructured.Unstructured{Object: o}, metav1.CreateOptions{})
		}
	}
	got, err := send()
	if err != nil {
		return err
	}
	return runtime.DefaultUnstructuredConverter.FromUnstructured(got.Object, addon)
}

// warn writes the Warning event that K3s writes on the Addon.
func (d *deployer) warn(ctx context.Context, addon *k3s.Addon, reason string, cause error) error {
	now := metav1.Now()
	o, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&corev1.Event{
		TypeMeta:       metav1.TypeMeta{APIVersion: "v1", Kind: "Event"},
		ObjectMeta:     metav1.ObjectMeta{GenerateName: addon.Name + ".", Namespace: metav1.NamespaceSystem},
		InvolvedObject: corev1.ObjectReference{APIVersion: addon.APIVersion, Kind: addon.Kind, Name: addon.Name, Namespace: addon.Namespace, UID: addon.UID},
		Type:           corev1.EventTypeWarning, Reason: reason, Message: cause.Error(), Source: corev1.EventSource{Component: "deploy"},
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
	})
	if err != nil {
		return err
	}
	_, err = d.client.Resource(events).Namespace(metav1.NamespaceSystem).Create(ctx, &unstructured.Unstructured{Object: o}, metav1.CreateOptions{})
	return err
}

func decode(text []byte) (*objectset.ObjectSet, error) {
	set := objectset.NewObjectSet()
	decoder := yaml.NewYAMLToJSONDecoder(strings.NewReader(string(text)))
	for {
		var o map[string]any
		switch err := decoder.Decode(&o); {
		case errors.Is(err, io.EOF):
			return set, nil
		case err != nil:
			return nil, err
		case len(o) > 0:
			set.Add(&unstructured.Unstructured{Object: o})
		}
	}
}
