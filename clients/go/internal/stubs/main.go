// Stubs generates the Go stubs from the descriptor set of the protos: `go generate` in the module's folder.
//
// It asks the plugins that go.mod pins as tools, as protoc would, so that no protoc is needed.
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	for _, plugin := range []string{"protoc-gen-go", "protoc-gen-go-grpc"} {
		if err := generate(plugin, os.Args[1]); err != nil {
			log.Fatalf("%s: %v", plugin, err)
		}
	}
}

// generate writes what a plugin makes of the files of PRISMA in a descriptor set.
func generate(plugin, descriptorSet string) error {
	set := &descriptorpb.FileDescriptorSet{}
	if data, err := os.ReadFile(descriptorSet); err != nil {
		return err
	} else if err := proto.Unmarshal(data, set); err != nil {
		return err
	}
	request := &pluginpb.CodeGeneratorRequest{Parameter: proto.String("module=prisma"), ProtoFile: set.File}
	for _, file := range set.File {
		if strings.HasPrefix(file.GetPackage(), "prisma.") {
			request.FileToGenerate = append(request.FileToGenerate, file.GetName())
		}
	}
	input, err := proto.Marshal(request)
	if err != nil {
		return err
	}
	command := exec.Command("go", "tool", plugin)
	command.Stdin, command.Stderr = bytes.NewReader(input), os.Stderr
	output, err := command.Output()
	if err != nil {
		return err
	}
	response := &pluginpb.CodeGeneratorResponse{}
	if err := proto.Unmarshal(output, response); err != nil {
		return err
	}
	if response.Error != nil {
		return fmt.Errorf("%s", response.GetError())
	}
	for _, file := range response.File {
		if err := os.MkdirAll(filepath.Dir(file.GetName()), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file.GetName(), []byte(file.GetContent()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
