#include "trainer/run_folder.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <optional>

#include "tests/trainer/child_process.h"
#include "tests/trainer/temporary_folder.h"

namespace thinwire::trainer {
namespace {

namespace fs = std::filesystem;
using test::in_child;
using test::limit_files_to;
using test::message_of;
using test::read_bytes;
using test::TemporaryFolder;
using test::write_bytes;
using ::testing::HasSubstr;

TEST(RunFolder, HoldsARunOnceAConfigCheckpointOrLogIsThere) {
  TemporaryFolder folder;
  EXPECT_FALSE(holds_run(folder / "none"));
  EXPECT_FALSE(holds_run(folder.path()));
  write_bytes(folder / "notes.txt", "");
  RunLock lock(folder.path());
  EXPECT_FALSE(holds_run(folder.path())) << "a lock and foreign files are no run";
  for (const char* name : {"config.toml", "metrics.jsonl", "commits.jsonl", "summary.json", "checkpoints"}) {
    write_bytes(folder / name, "");
    EXPECT_TRUE(holds_run(folder.path())) << name;
    fs::remove(folder / name);
  }
  EXPECT_THAT(message_of([&] { holds_run(folder / "notes.txt"); }), HasSubstr("found a file"));
}

TEST(RunFolder, ALinkToARunIsThatRun) {
  TemporaryFolder folder;
  fs::create_directory(folder / "run");
  write_bytes(folder / "run/config.toml", "");
  fs::create_symlink(folder / "run", folder / "link");
  EXPECT_TRUE(holds_run(folder / "link"));
}

TEST(RunFolder, AFolderThatMayNotBeEnteredIsNamed) {
  TemporaryFolder folder;
  ASSERT_EQ(::chmod(folder.path().c_str(), 0), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && ::seteuid(65534) != 0) ::_exit(98);
    const auto named = [&](const std::string& message) {
      return message.find(folder.path()) != std::string::npos &&
             message.find("Permission denied") != std::string::npos;
    };
    if (!named(message_of([&] { holds_run(folder.path()); }))) ::_exit(1);
    if (!named(message_of([&] { RunLock lock(folder.path()); }))) ::_exit(2);
    if (!named(message_of([&] { JsonLines log(folder / "a.jsonl", 1); }))) ::_exit(3);
    if (!named(message_of([&] { write_file_atomically(folder / "a", "x"); }))) ::_exit(4);
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(::chmod(folder.path().c_str(), 0700), 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(RunFolder, ASecondLockIsRefusedAndNamesTheOwner) {
  TemporaryFolder folder;
  std::optional<RunLock> lock(std::in_place, folder / "deep/run");
  const std::string message = message_of([&] { RunLock second(folder / "deep/run"); });
  EXPECT_THAT(message, HasSubstr(folder / "deep/run"));
  EXPECT_THAT(message, HasSubstr("process " + std::to_string(::getpid())));
  lock.reset();
  RunLock third(folder / "deep/run");
}

TEST(RunFolder, TheLockOfADeadProcessIsFree) {
  TemporaryFolder folder;
  const pid_t child = ::fork();
  if (child == 0) {
    new RunLock(folder.path());
    ::raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(read_bytes(folder / ".lock").find("process " + std::to_string(child)), 0u);
  RunLock lock(folder.path());
}

TEST(RunFolder, ALockThatIsALinkIsRefused) {
  TemporaryFolder folder;
  write_bytes(folder / "target", "precious");
  fs::create_symlink(folder / "target", folder / ".lock");
  EXPECT_THAT(message_of([&] { RunLock lock(folder.path()); }), HasSubstr(".lock"));
  EXPECT_EQ(read_bytes(folder / "target"), "precious");
}

// A line as the format says it, put together by hand.
std::string line_of(const std::string& members) {
  return "{\"check\":\"" + xxh3_128_hex("{" + members + "}").substr(0, 16) + "\"," + members + "}\n";
}
std::string line_of(int number, int step) {
  return line_of("\"line\":" + std::to_string(number) + ",\"step\":" + std::to_string(step));
}

TEST(JsonLines, ARecordIsALineWithItsNumberAndItsHash) {
  TemporaryFolder folder;
  JsonLines log(folder / "a.jsonl", -1);
  EXPECT_TRUE(log.write({{"step", 1}, {"text", "two\nlines"}}));
  EXPECT_TRUE(log.write({{"step", 2}, {"loss", std::nan("")}}));
  log.sync();
  EXPECT_TRUE(log.ok());
  EXPECT_EQ(log.lines(), 2);
  EXPECT_EQ(read_bytes(folder / "a.jsonl"), line_of(R"("line":1,"step":1,"text":"two\nlines")") +
                                                line_of(R"("line":2,"loss":null,"step":2)"));
}

TEST(JsonLines, AResumeDropsWhatLiesPastTheCheckpointAndTornLines) {
  TemporaryFolder folder;
  const std::string path = folder / "a.jsonl";
  const std::string kept = line_of(1, 1) + line_of(2, 2);
  for (const std::string& dropped :
       {std::string(), line_of(3, 3), line_of(3, 3) + line_of(4, 4) + "{\"check\":\"ab",
        line_of(3, 2).substr(0, line_of(3, 2).size() - 1), std::string("\0\0\0\0", 4), std::string("\n")}) {
    write_bytes(path, kept + dropped);
    JsonLines log(path, 2, 2);
    EXPECT_EQ(log.lost().count, 0) << dropped;
    log.write({{"step", 3}});
    EXPECT_EQ(read_bytes(path), kept + line_of(3, 3)) << dropped;
  }
}

TEST(JsonLines, LinesThatTheCheckpointKnowsAndTheFileLacksAreNamedByTheirSteps) {
  TemporaryFolder folder;
  const std::string path = folder / "a.jsonl";
  const std::string first = line_of(1, 5), second = line_of(2, 5), third = line_of(3, 10),
                    fourth = line_of(4, 15);
  const std::string all = first + second + third + fourth;
  const auto lost = [&](const std::string& text) {
    write_bytes(path, text);
    const LostLines unread = lost_lines(path, 15, 4);
    EXPECT_EQ(read_bytes(path), text);
    const JsonLines log(path, 15, 4);
    EXPECT_EQ(log.lost().steps, unread.steps);
    EXPECT_EQ(log.lines(), 4) << "numbers go on, so that the gap can still be seen";
    return std::to_string(unread.count) + " of " + unread.steps;
  };
  EXPECT_EQ(lost(all), "0 of ");
  EXPECT_EQ(lost(""), "4 of steps 1 to 15");
  EXPECT_EQ(lost(first + second), "2 of steps 5 to 15");
  EXPECT_EQ(lost(first + third + fourth), "1 of steps 5 to 10");
  EXPECT_EQ(lost(first + third), "2 of steps 5 to 10, steps 10 to 15");
  EXPECT_EQ(lost(second + third + fourth), "1 of steps 1 to 5");
  for (std::size_t at = 0; at < all.size(); ++at) {
    std::string flipped = all;
    flipped[at] ^= 1;
    EXPECT_NE(lost(flipped), "0 of ") << at;
  }
  std::filesystem::remove(path);
  EXPECT_EQ(lost_lines(path, 15, 4).count, 4);
}

TEST(JsonLines, DamageInTheMiddleCostsOnlyItsLines) {
  TemporaryFolder folder;
  const std::string path = folder / "a.jsonl";
  write_bytes(path, line_of(1, 1) + "[]\n" + line_of("\"no\":1") + line_of("\"line\":2,\"step\":1.5") +
                        "{\"st\xff\n" + line_of(2, 9) + line_of(3, 2) + line_of(3, 2));
  JsonLines log(path, 2, 3);
  EXPECT_EQ(read_bytes(path), line_of(1, 1) + line_of(3, 2));
}

TEST(JsonLines, WhatWasWrittenAfterTheCheckpointIsNotWrittenTwice) {
  TemporaryFolder folder;
  const std::string path = folder / "a.jsonl";
  const nlohmann::json loss = {{"step", 20}, {"loss", 1.5}}, evaluation = {{"step", 20}, {"eval_loss", 2.5}};
  {
    JsonLines log(path, -1);
    log.write(loss);
    log.write(evaluation);
  }
  const std::string text = read_bytes(path);
  {
    JsonLines log(path, 20, 1);  // the checkpoint was written before the evaluation
    EXPECT_FALSE(log.write(evaluation));
    EXPECT_EQ(read_bytes(path), text);
    EXPECT_TRUE(log.write({{"step", 21}, {"eval_loss", 2.5}}));
    EXPECT_EQ(log.lines(), 3);
  }
  JsonLines log(path, 20, 2);
  EXPECT_TRUE(log.write(evaluation)) << "as of that checkpoint it is another one";
}

TEST(JsonLines, ANewRunStartsAnew) {
  TemporaryFolder folder;
  write_bytes(folder / "a.jsonl", line_of(1, 0));
  JsonLines log(folder / "a.jsonl", -1);
  EXPECT_EQ(read_bytes(folder / "a.jsonl"), "");
}

TEST(JsonLines, AResumeWithoutALogStartsOne) {
  TemporaryFolder folder;
  JsonLines log(folder / "a.jsonl", 10, 7);
  log.write({{"step", 11}});
  EXPECT_EQ(read_bytes(folder / "a.jsonl"), line_of(8, 11));
}

TEST(JsonLines, WhatIsNoPlainFileIsRefusedWithoutWaiting) {
  TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "a.jsonl").c_str(), 0600), 0);
  for (const std::int64_t keep : {-1, 5})
    EXPECT_THAT(message_of([&] { JsonLines log(folder / "a.jsonl", keep); }),
                HasSubstr("a.jsonl: not a plain file but a named pipe"));
}

TEST(JsonLines, AFullDiskIsRememberedAndLeavesWholeLinesOnly) {
  TemporaryFolder folder;
  const int status = in_child([&] {
    limit_files_to(120);
    JsonLines log(folder / "a.jsonl", -1);
    log.write({{"step", 1}});
    const bool before = log.ok();
    log.write({{"step", 2}, {"text", std::string(100, 'x')}});
    const bool after = log.ok();
    log.write({{"step", 3}});
    ::_exit(before && !after && !log.ok() ? 0 : 1);
  });
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(read_bytes(folder / "a.jsonl"), line_of(1, 1) + line_of(3, 3));
}

TEST(JsonLines, AFolderThatIsNotThereIsNamed) {
  TemporaryFolder folder;
  EXPECT_THAT(message_of([&] { JsonLines log(folder / "none/a.jsonl", -1); }),
              HasSubstr(folder / "none/a.jsonl"));
}

TEST(AtomicFile, ReplacesTheFileAndLeavesNothingBeside) {
  TemporaryFolder folder;
  write_file_atomically(folder / "a", "one");
  write_file_atomically(folder / "a", "two");
  EXPECT_EQ(read_bytes(folder / "a"), "two");
  EXPECT_FALSE(fs::exists(folder / "a.tmp"));
}

TEST(AtomicFile, AFailedWriteLeavesTheOlderFile) {
  TemporaryFolder folder;
  write_file_atomically(folder / "a", "one");
  const int status = in_child([&] {
    limit_files_to(100);
    try {
      write_file_atomically(folder / "a", std::string(200, 'x'));
    } catch (const std::system_error& error) {
      ::_exit(is_disk_full(error.code()) ? 0 : 1);
    }
    ::_exit(2);
  });
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_EQ(read_bytes(folder / "a"), "one");
  EXPECT_FALSE(fs::exists(folder / "a.tmp"));
}

TEST(AtomicFile, WhatAKilledWriterLeftBesideIsReplaced) {
  TemporaryFolder folder;
  write_bytes(folder / "target", "precious");
  fs::create_symlink(folder / "target", folder / "a.tmp");
  write_file_atomically(folder / "a", "one");
  EXPECT_EQ(read_bytes(folder / "a"), "one");
  EXPECT_EQ(read_bytes(folder / "target"), "precious");
}

TEST(AtomicFile, NothingButAFileIsReplaced) {
  TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(message_of([&] { write_file_atomically(folder / "pipe", "x"); }),
              HasSubstr("not a plain file"));
  EXPECT_TRUE(fs::is_fifo(folder / "pipe"));
  EXPECT_FALSE(fs::exists(folder / "pipe.tmp"));
}

// Any change of the text, of the last line or of the length is found.
template <typename Require>
void expect_every_change_is_found(const std::string& path, const std::string& text, Require&& require) {
  write_bytes(path, text);
  require(path);
  for (std::size_t at = 0; at < text.size(); ++at) {
    std::string flipped = text;
    flipped[at] ^= 4;
    write_bytes(path, flipped);
    EXPECT_THAT(message_of([&] { require(path); }), HasSubstr(path)) << "byte " << at;
    write_bytes(path, text.substr(0, at));
    EXPECT_THAT(message_of([&] { require(path); }), HasSubstr(path)) << "cut at " << at;
  }
  fs::remove(path);
  EXPECT_THAT(message_of([&] { require(path); }), HasSubstr(path));
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_THAT(message_of([&] { require(path); }), HasSubstr("not a plain file"));
  fs::remove(path);
}

TEST(Seal, EveryChangeIsFound) {
  TemporaryFolder folder;
  expect_every_change_is_found(folder / "config.toml", sealed("[run]\nseed = 1\n"),
                               [](const std::string& path) { require_seal(path); });
  expect_every_change_is_found(folder / "config.toml", sealed(""),
                               [](const std::string& path) { require_seal(path); });
}

TEST(Seal, TheMessageSaysHowAnEditedTextIsTaken) {
  TemporaryFolder folder;
  const std::string path = folder / "config.toml";
  const std::string edited = "[run]\nseed = 2\n";
  const std::string seal = sealed("[run]\nseed = 1\n").substr(edited.size());
  for (const std::string& text : {edited, edited + seal}) {
    write_bytes(path, text);
    const std::string message = message_of([&] { require_seal(path); });
    EXPECT_THAT(message, HasSubstr("--set"));
    write_bytes(path, edited + message.substr(message.rfind('\n') + 1) + "\n");
    require_seal(path);
  }
}

TEST(HashedJson, EveryChangeIsFound) {
  TemporaryFolder folder;
  const nlohmann::json object = {{"loss", 1.5}, {"name", "ä"}, {"none", nullptr}};
  const std::string text = hashed_json(object);
  write_bytes(folder / "a.json", text);
  EXPECT_EQ(hashed_json(read_hashed_json(folder / "a.json")), text);
  expect_every_change_is_found(folder / "a.json", text,
                               [](const std::string& path) { read_hashed_json(path); });
}

TEST(Digest, EveryChangeIsFound) {
  TemporaryFolder folder;
  expect_every_change_is_found(folder / "tokenizer", "some bytes", [](const std::string& path) {
    require_digest(path, xxh3_128_hex("some bytes"), "a checkpoint");
  });
}

}  // namespace
}  // namespace thinwire::trainer
