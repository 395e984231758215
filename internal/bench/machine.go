package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

// machine names what the figures come from: Go, processor, memory, peers.
func machine() string {
	parts := []string{runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	if model := processor(); model != "" {
		parts = append(parts, model)
	}
	parts = append(parts, fmt.Sprintf("%d cores", runtime.NumCPU()))
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			switch m.Path {
			case "github.com/mjl-/mox", "github.com/foxcpp/go-mtasts", "github.com/miekg/dns", "github.com/emersion/go-smtp":
				parts = append(parts, m.Path+" "+m.Version)
			}
		}
	}
	return strings.Join(parts, ", ")
}

// processor returns the model name of the first core, with its clock and cache,
// "" where Linux does not tell.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	value := func(key string) string {
		_, after, _ := strings.Cut(string(text), key)
		line, _, _ := strings.Cut(after, "\n")
		return strings.TrimLeft(line, "\t :")
	}
	model := value("model name")
	if mhz, cache := value("cpu MHz"), value("cache size"); model != "" && mhz != "" && cache != "" {
		model += fmt.Sprintf(" (%s MHz, %s of cache)", strings.TrimSuffix(mhz, ".000"), cache)
	}
	return model
}

// load returns the load averages of the machine, which tell how far its figures
// can be trusted.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	fields := strings.Fields(string(text))
	return strings.Join(fields[:min(3, len(fields))], " ")
}
