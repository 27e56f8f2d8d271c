#include "launch/machine_memory.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/trainer/temporary_folder.h"

namespace thinwire::launch {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

// A machine's /proc and /sys.
class Machine {
 public:
  Machine() {
    write("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    4096 kB\nSwapFree:        1024 kB\n");
  }
  void write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ / name).parent_path());
    test::write_bytes(root_ / name, text);
  }
  std::optional<std::uint64_t> memory() const { return available_memory(root_.path()); }

 private:
  test::TemporaryFolder root_;
};

TEST(MachineMemory, IsWhatIsAvailableWithTheSwap) {
  const Machine machine;
  EXPECT_EQ(machine.memory(), 5 * kMiB);
}

TEST(MachineMemory, IsAtMostWhatEveryControlGroupLeaves) {
  Machine machine;
  machine.write("proc/self/cgroup", "0::/a/b\n");
  machine.write("sys/fs/cgroup/a/memory.max", "3145728\n");
  machine.write("sys/fs/cgroup/a/memory.current", "2097152\n");
  machine.write("sys/fs/cgroup/a/memory.stat", "anon 7\nfile 1048576\n");
  machine.write("sys/fs/cgroup/a/b/memory.max", "max\n");
  machine.write("sys/fs/cgroup/a/b/memory.current", "0\n");
  EXPECT_EQ(machine.memory(), 3 * kMiB) << "3 MiB less 2 taken, of which 1 can be taken back; 1 of swap";
  machine.write("sys/fs/cgroup/a/b/memory.max", "1048576\n");
  EXPECT_EQ(machine.memory(), 2 * kMiB);
}

TEST(MachineMemory, KnowsTheFirstVersionOfControlGroupsToo) {
  Machine machine;
  machine.write("proc/self/cgroup", "5:cpu:/x\n4:memory:/x\n");
  machine.write("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "2097152\n");
  machine.write("sys/fs/cgroup/memory/x/memory.usage_in_bytes", "1048576\n");
  machine.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  machine.write("sys/fs/cgroup/memory/memory.usage_in_bytes", "1048576\n");
  EXPECT_EQ(machine.memory(), 2 * kMiB);
}

TEST(MachineMemory, IsUnknownWhereTheKernelSaysNothing) {
  EXPECT_EQ(available_memory("/no/such/root"), std::nullopt);
  EXPECT_GT(available_memory().value_or(0), kMiB);
}

}  // namespace
}  // namespace thinwire::launch
