#include "trainer/format/tensorboard.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>

#include "tests/trainer/child_process.h"
#include "tests/trainer/temporary_folder.h"
#include "trainer/format/crc32c.h"

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

// Takes bytes from the front; a reader of its own, that shares nothing with the writer.
class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : bytes_(bytes) {}
  bool empty() const { return bytes_.empty(); }
  std::string_view take(std::size_t n) {
    if (n > bytes_.size()) throw std::runtime_error("truncated");
    const std::string_view taken = bytes_.substr(0, n);
    bytes_.remove_prefix(n);
    return taken;
  }
  template <typename T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      const auto byte = number<std::uint8_t>();
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw std::runtime_error("varint too long");
  }

 private:
  std::string_view bytes_;
};

struct Field {
  std::uint64_t integer = 0;
  double real = 0;
  std::string_view bytes;
};

std::map<int, Field> message_fields(std::string_view message) {
  std::map<int, Field> fields;
  for (Cursor cursor(message); !cursor.empty();) {
    const std::uint64_t key = cursor.varint();
    Field& field = fields[static_cast<int>(key >> 3)];
    switch (key & 7) {
      case 0:
        field.integer = cursor.varint();
        break;
      case 1:
        field.real = cursor.number<double>();
        break;
      case 2:
        field.bytes = cursor.take(cursor.varint());
        break;
      case 5:
        field.real = cursor.number<float>();
        break;
      default:
        throw std::runtime_error("unknown wire type");
    }
  }
  return fields;
}

// One bit at a time, as the definition says.
std::uint32_t bitwise_masked_crc(std::string_view bytes) {
  std::uint32_t crc = ~0u;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (0x82f63b78u & (0u - (crc & 1)));
  }
  crc = ~crc;
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

std::vector<std::map<int, Field>> events_of(std::string_view file) {
  std::vector<std::map<int, Field>> events;
  for (Cursor cursor(file); !cursor.empty();) {
    const std::string_view length_bytes = cursor.take(8);
    std::uint64_t length = 0;
    std::memcpy(&length, length_bytes.data(), 8);
    EXPECT_EQ(cursor.number<std::uint32_t>(), bitwise_masked_crc(length_bytes));
    const std::string_view event = cursor.take(length);
    EXPECT_EQ(cursor.number<std::uint32_t>(), bitwise_masked_crc(event));
    events.push_back(message_fields(event));
  }
  return events;
}

std::vector<std::string> sorted_files(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path());
  std::sort(names.begin(), names.end());
  return names;
}

TEST(Tensorboard, TheChecksumIsCastagnolis) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
}

TEST(Tensorboard, AnotherReaderFindsEveryScalar) {
  TemporaryFolder folder;
  const std::vector<std::pair<double, std::int64_t>> points = {
      {1.5, 0}, {-0.25, 127}, {1e-30, 128}, {std::nan(""), 300}, {INFINITY, std::int64_t{1} << 40}};
  {
    TensorboardWriter writer(folder / "deep/tb", 7);
    for (const auto& [value, step] : points) writer.scalar("train/loss", value, step);
    EXPECT_TRUE(writer.ok());
  }
  ASSERT_EQ(sorted_files(folder / "deep/tb").size(), 1u);
  const std::string file = read_bytes(sorted_files(folder / "deep/tb")[0]);
  auto events = events_of(file);
  ASSERT_EQ(events.size(), points.size() + 2);
  EXPECT_EQ(events[0][3].bytes, "brain.Event:2");
  EXPECT_EQ(message_fields(events[1][7].bytes)[1].integer, 1u);
  EXPECT_EQ(events[1][2].integer, 7u) << "the session starts where it was told to";
  for (std::size_t i = 0; i < points.size(); ++i) {
    auto& event = events[i + 2];
    EXPECT_GT(event[1].real, 1.6e9);
    EXPECT_EQ(event[2].integer, static_cast<std::uint64_t>(points[i].second));
    auto value = message_fields(message_fields(event[5].bytes)[1].bytes);
    EXPECT_EQ(value[1].bytes, "train/loss");
    const auto expected = static_cast<float>(points[i].first);
    EXPECT_TRUE(value[2].real == expected || (std::isnan(value[2].real) && std::isnan(expected)));
  }
}

TEST(Tensorboard, ScalarsReachTheFileAtAFlush) {
  TemporaryFolder folder;
  TensorboardWriter writer(folder.path(), 0);
  writer.scalar("a", 1, 1);
  EXPECT_EQ(events_of(read_bytes(sorted_files(folder.path())[0])).size(), 2u);
  writer.flush();
  EXPECT_EQ(events_of(read_bytes(sorted_files(folder.path())[0])).size(), 3u);
}

TEST(Tensorboard, LaterWritersMakeFilesThatSortAfterTheOlder) {
  TemporaryFolder folder;
  write_bytes(folder / "events.out.tfevents.8999999999.elsewhere.1", "");
  for (int i = 0; i < 3; ++i) TensorboardWriter(folder.path(), i).scalar("a", i, i);
  const auto files = sorted_files(folder.path());
  ASSERT_EQ(files.size(), 4u);
  EXPECT_THAT(files[0], HasSubstr(".8999999999."));
  for (std::uint64_t i = 0; i < 3; ++i) {
    const std::string file = read_bytes(files[i + 1]);
    EXPECT_EQ(events_of(file).at(2)[2].integer, i);
  }
}

TEST(Tensorboard, AFullDiskLeavesWholeRecords) {
  TemporaryFolder folder;
  const int status = in_child([&] {
    limit_files_to(500);
    bool ok = true;
    {
      TensorboardWriter writer(folder.path(), 0);
      for (int i = 0; i < 100; ++i) {
        writer.scalar("a", i, i);
        writer.flush();
      }
      ok = writer.ok();
    }
    ::_exit(ok ? 1 : 0);
  });
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_GT(events_of(read_bytes(sorted_files(folder.path())[0])).size(), 3u);
}

TEST(Tensorboard, AFolderThatCannotBeMadeIsNamed) {
  TemporaryFolder folder;
  write_bytes(folder / "file", "");
  EXPECT_THAT(message_of([&] { TensorboardWriter writer(folder / "file/tb", 0); }),
              HasSubstr(folder / "file/tb"));
}

// Steps of the scalars of a file, in its order.
std::vector<std::uint64_t> steps_in(const std::string& path) {
  const std::string file = read_bytes(path);
  std::vector<std::uint64_t> steps;
  for (auto& event : events_of(file))
    if (event.contains(5)) steps.push_back(event[2].integer);
  return steps;
}

using Steps = std::vector<std::uint64_t>;

// A folder with one file that holds steps 10, 20, 30 and 40.
std::string write_four_steps(const std::string& dir) {
  TensorboardWriter writer(dir, 0);
  for (int step = 10; step <= 40; step += 10) writer.scalar("loss", step, step);
  return sorted_files(dir)[0];
}

TEST(TensorboardResume, StepsPastTheCheckpointAreCutOutOfOlderFiles) {
  TemporaryFolder folder;
  const std::string first = write_four_steps(folder / "tb");
  write_bytes(folder / "tb/notes.txt", "of the user");
  cut_event_files(folder / "tb", 20);
  EXPECT_EQ(steps_in(first), (Steps{10, 20}));
  { TensorboardWriter(folder / "tb", 21).scalar("loss", 25, 25); }
  cut_event_files(folder / "tb", 10);  // a later resume, from an older checkpoint
  EXPECT_EQ(steps_in(first), (Steps{10}));
  ASSERT_EQ(sorted_files(folder / "tb").size(), 3u);
  EXPECT_EQ(steps_in(sorted_files(folder / "tb")[1]), (Steps{}));
  EXPECT_EQ(read_bytes(folder / "tb/notes.txt"), "of the user");
  cut_event_files(folder / "none", 10);
}

TEST(TensorboardResume, ATornOrDamagedRecordGoesAndTheOthersStay) {
  TemporaryFolder folder;
  const std::string path = write_four_steps(folder / "tb");
  const std::string whole = read_bytes(path);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    write_bytes(path, whole.substr(0, size));
    cut_event_files(folder / "tb", 40);
    EXPECT_LE(events_of(read_bytes(path)).size(), 5u) << "whole records only, after a cut at " << size;
  }
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::string flipped = whole;
    flipped[at] ^= 1;
    write_bytes(path, flipped);
    cut_event_files(folder / "tb", 40);
    events_of(read_bytes(path));  // throws for what is no record
    EXPECT_LT(fs::file_size(path), whole.size()) << at;
  }
  std::string flipped = whole;
  flipped[whole.find("loss")] ^= 1;
  write_bytes(path, flipped);
  cut_event_files(folder / "tb", 40);
  EXPECT_EQ(steps_in(path), (Steps{20, 30, 40}));
}

TEST(TensorboardResume, FilesOfOtherKindsAreLeftAlone) {
  TemporaryFolder folder;
  fs::create_directories(folder / "events.out.tfevents.0000000002.folder");
  ASSERT_EQ(::mkfifo((folder / "events.out.tfevents.0000000001.pipe").c_str(), 0600), 0);
  cut_event_files(folder.path(), 10);
  EXPECT_TRUE(fs::is_fifo(folder / "events.out.tfevents.0000000001.pipe"));
}

// The Python package, where it is installed, reads a run that was killed after step 4 and resumed at step 2:
// none of its three ways to read shows a step twice.
TEST(TensorboardResume, NoReaderOfTensorboardShowsAStepTwice) {
  if (std::system("python3 -c 'import tensorboard' 2>/dev/null") != 0) {
    GTEST_SKIP() << "the Python package tensorboard is not installed";
  }
  TemporaryFolder folder;
  {
    TensorboardWriter first(folder / "tb", 0);
    for (int step = 1; step <= 4; ++step) first.scalar("loss", step, step);
  }
  const std::string older = sorted_files(folder / "tb")[0];
  write_bytes(older, read_bytes(older) + "torn");
  cut_event_files(folder / "tb", 2);
  {
    TensorboardWriter second(folder / "tb", 3);
    for (int step = 4; step <= 6; ++step) second.scalar("loss", 10 * step, step);
  }
  write_bytes(folder / "read.py", R"(import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator as PluginAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
import glob
for events in [EventAccumulator(sys.argv[1]), EventAccumulator(sys.argv[1], purge_orphaned_data=False)]:
    events.Reload()
    print([(e.step, e.value) for e in events.Scalars('loss')])
events = PluginAccumulator(sys.argv[1])
events.Reload()
print([(e.step, float(e.tensor_proto.float_val[0])) for e in events.Tensors('loss')])
print([e.step for f in sorted(glob.glob(sys.argv[1] + '/*')) for e in EventFileLoader(f).Load()
       if e.HasField('summary')])
)");
  const std::string command = "cd " + folder.path() + " && python3 read.py tb > out 2> errors";
  ASSERT_EQ(std::system(command.c_str()), 0) << read_bytes(folder / "errors");
  const std::string points = "[(1, 1.0), (2, 2.0), (4, 40.0), (5, 50.0), (6, 60.0)]\n";
  EXPECT_EQ(read_bytes(folder / "out"), points + points + points + "[1, 2, 4, 5, 6]\n");
}

}  // namespace
}  // namespace thinwire::trainer
