package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
)

const (
	fieldManager = "cluster"

	// failLabel marks pods whose container "runs" and ends with this exit code. The program says so in their status, as a
	// kubelet would.
	failLabel = "cluster/exit-code"
)

// applyWorkload creates the objects of the file in its order. A status is written too: that is how a node without a
// kubelet has memory.
func (c *controlPlane) applyWorkload(ctx context.Context) error {
	file, err := os.Open(c.workload)
	if err != nil {
		return fmt.Errorf("open the workload: %w", err)
	}
	defer file.Close()
	groups, err := restmapper.GetAPIGroupResources(c.client.Discovery())
	if err != nil {
		return fmt.Errorf("ask which kinds there are: %w", err)
	}
	mapper := restmapper.NewDiscoveryRESTMapper(groups)
	client, err := dynamic.NewForConfig(c.config)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	decoder := yaml.NewYAMLOrJSONDecoder(file, 4096)
	for n := 1; ; n++ {
		var object unstructured.Unstructured
		if err := decoder.Decode(&object.Object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("workload, document %d: %w", n, err)
		}
		if len(object.Object) == 0 {
			continue
		}
		if err := c.apply(ctx, client, mapper, &object); err != nil {
			return fmt.Errorf("workload, document %d, %s %s: %w", n, object.GetKind(), object.GetName(), err)
		}
	}
}

func (c *controlPlane) apply(ctx context.Context, client dynamic.Interface, mapper meta.RESTMapper, object *unstructured.Unstructured) error {
	kind := object.GroupVersionKind()
	mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return err
	}
	var resource dynamic.ResourceInterface = client.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		resource = client.Resource(mapping.Resource).Namespace(object.GetNamespace())
	}
	options := metav1.ApplyOptions{FieldManager: fieldManager, Force: true}
	if _, err := resource.Apply(ctx, object.GetName(), object, options); err != nil {
		return err
	}
	if _, ok := object.Object["status"]; ok {
		if _, err := resource.ApplyStatus(ctx, object.GetName(), object, options); err != nil {
			return fmt.Errorf("status: %w", err)
		}
	}
	if mapping.Resource.Resource == "namespaces" {
		// Pods in it are refused until a controller has made this.
		return c.waitForDefaultServiceAccount(ctx, object.GetName())
	}
	return nil
}

// failPods ends the containers of marked pods, once a second, until ctx ends. Failures are tried again.
func (c *controlPlane) failPods(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		pods, err := c.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{LabelSelector: failLabel, FieldSelector: "status.phase=Pending"})
		if err != nil {
			continue
		}
		for _, pod := range pods.Items {
			err := c.failPod(ctx, &pod)
			if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) && ctx.Err() == nil {
				fmt.Fprintf(c.stderr, "cluster: end pod %s/%s: %v\n", pod.Namespace, pod.Name, err)
			}
		}
	}
}

func (c *controlPlane) failPod(ctx context.Context, pod *corev1.Pod) error {
	var code int32
	if _, err := fmt.Sscan(pod.Labels[failLabel], &code); err != nil {
		return fmt.Errorf("label %s: %w", failLabel, err)
	}
	now := metav1.Now()
	pod.Status.Phase = corev1.PodFailed
	pod.Status.StartTime = &now
	pod.Status.ContainerStatuses = nil
	for _, container := range pod.Spec.Containers {
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{
			Name:  container.Name,
			Image: container.Image,
			State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
				ExitCode: code, Reason: "Error", StartedAt: now, FinishedAt: now,
			}},
		})
	}
	_, err := c.client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	return err
}
