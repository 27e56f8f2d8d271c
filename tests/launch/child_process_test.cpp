#include "launch/launcher/child_process.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <csignal>

namespace thinwire::launch {
namespace {

using namespace std::chrono_literals;

struct Output {
  std::vector<std::string> out, error;
  int status = 0;
};

Output run(const std::vector<std::string>& command, const std::vector<std::string>& environment = {}) {
  Output output;
  ChildProcess child(command, environment);
  const auto keep = [&](Stream stream, std::string_view line) {
    (stream == Stream::kOut ? output.out : output.error).emplace_back(line);
  };
  while (child.read_lines(10s, keep)) {
  }
  output.status = child.wait();
  return output;
}

TEST(ChildProcess, ItsLinesComeByStreamAndAnUnendedOneLast) {
  const Output output = run({"sh", "-c", "echo a; echo; printf b; echo c >&2; exit 3"});
  EXPECT_EQ(output.out, (std::vector<std::string>{"a", "", "b"}));
  EXPECT_EQ(output.error, (std::vector<std::string>{"c"}));
  EXPECT_EQ(WEXITSTATUS(output.status), 3);
}

TEST(ChildProcess, ReadsWhatWeWriteUntilWeEndIt) {
  ChildProcess child({"cat"}, {}, Input::kPipe);
  std::vector<std::string> lines;
  const auto keep = [&](Stream, std::string_view line) { lines.emplace_back(line); };
  child.write("12 ");
  child.write("3\nend");
  while (lines.empty() && child.read_lines(10s, keep)) {
  }
  EXPECT_EQ(lines, (std::vector<std::string>{"12 3"})) << "while its input is open";
  child.end_input();
  while (child.read_lines(10s, keep)) {
  }
  EXPECT_EQ(lines, (std::vector<std::string>{"12 3", "end"}));
  EXPECT_EQ(child.wait(), 0);
}

TEST(ChildProcess, GetsTheEnvironmentWithOurEntriesOverIt) {
  ::setenv("THINWIRE_TEST_A", "old", 1);
  ::setenv("THINWIRE_TEST_B", "kept", 1);
  const Output output = run({"sh", "-c", "echo $THINWIRE_TEST_A $THINWIRE_TEST_B"}, {"THINWIRE_TEST_A=new"});
  EXPECT_EQ(output.out, (std::vector<std::string>{"new kept"}));
}

TEST(ChildProcess, HasNoInput) {
  EXPECT_EQ(run({"cat"}).out, (std::vector<std::string>{}));
}

TEST(ChildProcess, AMissingProgramIsNamed) {
  try {
    ChildProcess({"no-such-program"}, {});
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "no-such-program: no such program in PATH");
  }
}

TEST(ChildProcess, TakesSignals) {
  ChildProcess child({"sh", "-c", "echo ready; exec sleep 100"}, {});
  bool ready = false;
  while (!ready) child.read_lines(10s, [&](Stream, std::string_view line) { ready = line == "ready"; });
  child.signal(SIGTERM);
  const int status = child.wait();
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGTERM);
}

TEST(ChildProcess, IsKilledWithItsGroupWhenTheObjectGoes) {
  pid_t grandchild = 0;
  {
    ChildProcess child({"sh", "-c", "sleep 100 & echo $!; wait"}, {});
    while (grandchild == 0) {
      child.read_lines(10s,
                       [&](Stream, std::string_view line) { grandchild = std::stoi(std::string(line)); });
    }
  }
  // Orphaned and killed, it is reaped by init a moment later; until then it is a zombie, which takes signals.
  const auto deadline = std::chrono::steady_clock::now() + 20s;
  const auto gone = [&] {
    std::FILE* file = std::fopen(("/proc/" + std::to_string(grandchild) + "/stat").c_str(), "r");
    if (file == nullptr) return true;
    char state = 0;
    const int count = std::fscanf(file, "%*d %*s %c", &state);
    std::fclose(file);
    return count == 1 && state == 'Z';
  };
  while (!gone()) ASSERT_LT(std::chrono::steady_clock::now(), deadline);
}

}  // namespace
}  // namespace thinwire::launch
