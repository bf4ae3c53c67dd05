// Command guest is the first process of the machine that scripts/arm64/run emulates. It brings up the disk, the network and a
// memory cgroup, runs the agent in it, and does what the host says, one word a line, over a connection to the address HOST of
// the kernel's command line: start, sample (answered with one line of JSON, a [report.Sample]), stop, off.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/edge-eventer/edge-eventer/scripts/arm64/report"
)

const (
	data   = "/data"
	cgroup = "/cgroup/agent"
	// sampling is how often memory is looked at for its peaks.
	sampling = 200 * time.Millisecond
)

func main() {
	// Each page counts in a machine this small.
	debug.SetGCPercent(10)
	m := &machine{}
	err := m.boot()
	if err == nil {
		err = m.run()
	}
	if err != nil {
		fmt.Println("guest:", err)
	}
	syscall.Sync()
	if err := syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Println("guest: power off:", err)
	}
}

type machine struct {
	agent   *exec.Cmd
	exited  chan struct{}
	sampler report.Sampler
}

// boot mounts what is needed, and then replaces this process by the same program on the disk: there its pages are read when they
// are used and given back when memory is short, while the initramfs keeps all of them.
func (m *machine) boot() error {
	program := filepath.Join(data, "guest")
	if os.Args[0] == program {
		return nil
	}
	for _, mount := range []struct{ source, target, kind string }{
		{"proc", "/proc", "proc"}, {"sys", "/sys", "sysfs"}, {"dev", "/dev", "devtmpfs"}, {"cgroup", "/cgroup", "cgroup2"},
	} {
		if err := mountAt(mount.source, mount.target, mount.kind); err != nil {
			return err
		}
	}
	if err := loadModules("/modules"); err != nil {
		return err
	}
	if err := mountAt("/dev/vda", data, "ext4"); err != nil {
		return err
	}
	if err := os.Remove("/init"); err != nil {
		return err
	}
	return syscall.Exec(program, []string{program}, os.Environ()) //nolint:gosec // It is this program.
}

func (m *machine) run() error {
	if err := network("eth0", [4]byte{10, 0, 2, 15}, [4]byte{255, 255, 255, 0}); err != nil {
		return err
	}
	if err := makeCgroup(os.Getenv("LIMIT")); err != nil {
		return err
	}
	host, err := net.Dial("tcp", os.Getenv("HOST")) //nolint:noctx // The machine has nothing else to do.
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(host)
	for lines.Scan() {
		answer, err := m.do(lines.Text())
		if err != nil {
			return err
		}
		if answer == nil {
			return nil
		}
		if err := json.NewEncoder(host).Encode(answer); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
	return lines.Err()
}

// do returns nil for the word that ends the machine.
func (m *machine) do(word string) (*report.Sample, error) {
	switch word {
	case "start":
		if err := m.start(); err != nil {
			return nil, err
		}
	case "stop":
		if err := m.agent.Process.Signal(syscall.SIGTERM); err != nil {
			return nil, fmt.Errorf("stop the agent: %w", err)
		}
		<-m.exited
	case "sample":
	case "off":
		return nil, nil
	default:
		return nil, fmt.Errorf("the host said %q", word)
	}
	sample, err := m.sampler.Take()
	select {
	case <-m.exited:
		sample.Exited, sample.ExitCode = true, m.agent.ProcessState.ExitCode()
		return &sample, nil
	default:
	}
	return &sample, err
}

func (m *machine) start() error {
	dir, err := os.Open(cgroup)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	m.agent = exec.Command(filepath.Join(data, "edge-eventer"), "run", "--config", filepath.Join(data, "config.yaml")) //nolint:noctx // The host ends it.
	m.agent.Stdout, m.agent.Stderr = os.Stdout, os.Stderr
	m.agent.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	if err := m.agent.Start(); err != nil {
		return fmt.Errorf("start the agent: %w", err)
	}
	m.sampler = report.Sampler{Root: "/", PID: m.agent.Process.Pid, Cgroup: cgroup}
	m.exited = make(chan struct{})
	go func() {
		_ = m.agent.Wait()
		close(m.exited)
	}()
	go func() {
		tick := time.NewTicker(sampling)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				m.sampler.Look()
			case <-m.exited:
				return
			}
		}
	}()
	return nil
}

func mountAt(source, target, kind string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount(source, target, kind, 0, ""); err != nil && !errors.Is(err, syscall.EBUSY) {
		return fmt.Errorf("mount %s at %s: %w", kind, target, err)
	}
	return nil
}

// loadModules loads what the host found to be needed; the names begin with numbers in the order in which they need each other.
func loadModules(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, file := range files {
		module, err := os.ReadFile(filepath.Join(dir, file.Name()))
		if err != nil {
			return err
		}
		var parameters [1]byte
		_, _, errno := syscall.Syscall(syscall.SYS_INIT_MODULE, uintptr(unsafe.Pointer(&module[0])), uintptr(len(module)), uintptr(unsafe.Pointer(&parameters[0])))
		if errno != 0 && errno != syscall.EEXIST {
			return fmt.Errorf("load %s: %w", file.Name(), errno)
		}
		// It is in the memory of the machine a second time as a file.
		if err := os.Remove(filepath.Join(dir, file.Name())); err != nil {
			return err
		}
	}
	return nil
}

// network gives the link its address, as netdevice(7) says, and takes it up.
func network(link string, address, mask [4]byte) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer func() { _ = syscall.Close(fd) }()
	// set is an ioctl with a struct ifreq: 16 bytes of name and a union.
	set := func(link string, request uintptr, value []byte) error {
		var ifreq [40]byte
		copy(ifreq[:15], link)
		copy(ifreq[16:], value)
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(&ifreq[0]))); errno != 0 {
			return fmt.Errorf("configure %s: %w", link, errno)
		}
		return nil
	}
	inet := func(ip [4]byte) []byte { return append([]byte{syscall.AF_INET, 0, 0, 0}, ip[:]...) }
	up := []byte{syscall.IFF_UP, 0}
	return errors.Join(set("lo", syscall.SIOCSIFFLAGS, up), set(link, syscall.SIOCSIFADDR, inet(address)),
		set(link, syscall.SIOCSIFNETMASK, inet(mask)), set(link, syscall.SIOCSIFFLAGS, up))
}

func makeCgroup(limit string) error {
	if err := os.WriteFile("/cgroup/cgroup.subtree_control", []byte("+memory"), 0); err != nil {
		return err
	}
	if err := os.Mkdir(cgroup, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(cgroup, "memory.max"), []byte(strings.TrimSpace(limit)), 0)
}
