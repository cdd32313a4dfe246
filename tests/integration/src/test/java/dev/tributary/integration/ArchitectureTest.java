// SPDX-License-Identifier: Apache-2.0
package dev.tributary.integration;

import static com.tngtech.archunit.base.DescribedPredicate.describe;
import static com.tngtech.archunit.base.DescribedPredicate.not;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.assignableTo;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAnyPackage;
import static com.tngtech.archunit.core.domain.JavaModifier.STATIC;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.codeUnits;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.fields;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.members;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.GeneralCodingRules.ACCESS_STANDARD_STREAMS;
import static com.tngtech.archunit.library.GeneralCodingRules.USE_JAVA_UTIL_LOGGING;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;

import com.tngtech.archunit.base.DescribedPredicate;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaCodeUnit;
import com.tngtech.archunit.core.domain.JavaField;
import com.tngtech.archunit.core.domain.JavaMember;
import com.tngtech.archunit.core.domain.JavaModifier;
import com.tngtech.archunit.core.domain.JavaType;
import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchCondition;
import com.tngtech.archunit.lang.ArchRule;
import com.tngtech.archunit.lang.ConditionEvents;
import com.tngtech.archunit.lang.SimpleConditionEvent;
import java.lang.foreign.Linker;
import java.util.stream.Stream;

/** What must never be, as the architecture names it: borders between rooms, and the shape of the public face. */
@AnalyzeClasses(packages = "dev.tributary", importOptions = ImportOption.DoNotIncludeTests.class)
final class ArchitectureTest {
    private static final String KERNELS = "dev.tributary.kernels..";
    private static final String BINDINGS = "dev.tributary.kernels.ffi..";
    private static final String PUBLIC_API = "dev.tributary";
    private static final String ENGINE = "dev.tributary.engine..";
    private static final String CUDA = "dev.tributary.cuda..";
    private static final String METERS = "dev.tributary.micrometer..";
    private static final String COMMAND = "dev.tributary.cli..";
    private static final String DOWNCALLS = "java\\.lang\\.foreign\\.(Linker|SymbolLookup|FunctionDescriptor)(\\$.*)?";

    @ArchTest
    static final ArchRule engine_rooms_know_only_those_below =
            slices().matching("dev.tributary.engine.(*)..").should().beFreeOfCycles();

    @ArchTest
    static final ArchRule only_kernels_makes_downcalls = noClasses()
            .that()
            .resideOutsideOfPackage(KERNELS)
            .should()
            .dependOnClassesThat()
            .haveNameMatching(DOWNCALLS);

    @ArchTest
    static final ArchRule the_bindings_stay_inside_kernels = noClasses()
            .that()
            .resideOutsideOfPackage(KERNELS)
            .should()
            .dependOnClassesThat()
            .resideInAPackage(BINDINGS);

    @ArchTest
    static final ArchRule kernels_knows_the_platform_only = classes()
            .that()
            .resideInAPackage(KERNELS)
            .should()
            .onlyDependOnClassesThat(resideInAnyPackage(KERNELS, "java..", "jdk..", "org.jspecify.."));

    @ArchTest
    static final ArchRule the_engine_does_not_know_the_command = noClasses()
            .that()
            .resideInAnyPackage(PUBLIC_API, ENGINE)
            .should()
            .dependOnClassesThat()
            .resideInAPackage(COMMAND);

    @ArchTest
    static final ArchRule the_command_uses_the_public_face_only = noClasses()
            .that()
            .resideInAPackage(COMMAND)
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage(ENGINE, KERNELS);

    @ArchTest
    static final ArchRule only_the_cuda_module_knows_bytedeco = noClasses()
            .that()
            .resideOutsideOfPackage(CUDA)
            .should()
            .dependOnClassesThat()
            .resideInAPackage("org.bytedeco..");

    @ArchTest
    static final ArchRule the_cuda_module_knows_devices_and_kernels = classes()
            .that()
            .resideInAPackage(CUDA)
            .should()
            .onlyDependOnClassesThat(resideInAnyPackage(
                    CUDA,
                    PUBLIC_API,
                    "dev.tributary.engine.device",
                    "dev.tributary.kernels",
                    "org.bytedeco..",
                    "java..",
                    "org.jspecify.."));

    /** It is found as a service, so that everything works without it. */
    @ArchTest
    static final ArchRule nobody_knows_the_cuda_module = noClasses()
            .that()
            .resideOutsideOfPackage(CUDA)
            .should()
            .dependOnClassesThat()
            .resideInAPackage(CUDA);

    /** Whoever has other meters does without. */
    @ArchTest
    static final ArchRule only_its_own_module_knows_micrometer = noClasses()
            .that()
            .resideOutsideOfPackage(METERS)
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage(METERS, "io.micrometer..");

    @ArchTest
    static final ArchRule meters_use_the_public_face_only = noClasses()
            .that()
            .resideInAPackage(METERS)
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage(ENGINE, KERNELS);

    /** Such a call stops the garbage collector for as long as it runs, and nobody bounds a kernel's time. */
    @ArchTest
    static final ArchRule no_downcall_is_critical =
            noClasses().should().callMethod(Linker.Option.class, "critical", boolean.class);

    /** The generated bindings can trace their calls, but only on a system property of jextract's own. */
    @ArchTest
    static final ArchRule libraries_never_print =
            noClasses().that().resideOutsideOfPackages(COMMAND, BINDINGS).should(ACCESS_STANDARD_STREAMS);

    @ArchTest
    static final ArchRule logs_go_to_the_system_logger = noClasses()
            .should(USE_JAVA_UTIL_LOGGING)
            .orShould()
            .dependOnClassesThat()
            .resideInAPackage("org.slf4j..");

    @ArchTest
    static final ArchRule one_package_knows_the_tokenizer_library = noClasses()
            .that()
            .resideOutsideOfPackage("dev.tributary.engine.text..")
            .should()
            .dependOnClassesThat()
            .resideInAPackage("ai.djl..");

    /** The rest of it cuts and pads texts by default, and its loader looks for GPUs and a network. */
    @ArchTest
    static final ArchRule of_the_tokenizer_library_only_the_binding_is_used = noClasses()
            .should()
            .dependOnClassesThat(
                    resideInAPackage("ai.djl..").and(not(resideInAPackage("ai.djl.huggingface.tokenizers.jni.."))));

    @ArchTest
    static final ArchRule the_public_face_shows_no_native_memory = members()
            .that()
            .areDeclaredInClassesThat()
            .resideInAPackage(PUBLIC_API)
            .should(notExpose(resideInAnyPackage("java.lang.foreign..", KERNELS, ENGINE)));

    @ArchTest
    static final ArchRule public_methods_throw_what_callers_can_name = codeUnits()
            .that()
            .areDeclaredInClassesThat()
            .resideInAnyPackage(PUBLIC_API, "dev.tributary.kernels")
            .should(declareNoBroadThrowable());

    @ArchTest
    static final ArchRule owners_of_memory_can_be_closed = classes()
            .that()
            .resideInAPackage(PUBLIC_API)
            .and()
            .arePublic()
            .and(describe("hold something that must be closed", ArchitectureTest::ownsCloseable))
            .should()
            .beAssignableTo(AutoCloseable.class)
            .allowEmptyShould(true);

    @ArchTest
    static final ArchRule no_static_state_changes = fields().that()
            .areStatic()
            .and()
            .areDeclaredInClassesThat()
            .resideOutsideOfPackage(BINDINGS)
            .should()
            .beFinal();

    @ArchTest
    static final ArchRule names_say_what_a_thing_is =
            noClasses().should().haveNameMatching(".*(Manager|Helper|Utils?|Impl\\d*)(\\$.*)?");

    private static boolean ownsCloseable(JavaClass type) {
        return type.getFields().stream()
                .filter(field -> !field.getModifiers().contains(STATIC))
                .map(JavaField::getRawType)
                .anyMatch(assignableTo(AutoCloseable.class));
    }

    private static boolean isVisible(JavaMember member) {
        return member.getOwner().getModifiers().contains(JavaModifier.PUBLIC)
                && (member.getModifiers().contains(JavaModifier.PUBLIC)
                        || member.getModifiers().contains(JavaModifier.PROTECTED));
    }

    private static ArchCondition<JavaMember> notExpose(DescribedPredicate<JavaClass> hidden) {
        return new ArchCondition<>("not show foreign memory, kernels or engine internals in a public signature") {
            @Override
            public void check(JavaMember member, ConditionEvents events) {
                if (isVisible(member)) {
                    signature(member)
                            .flatMap(type -> type.getAllInvolvedRawTypes().stream())
                            .filter(hidden)
                            .forEach(type -> events.add(SimpleConditionEvent.violated(
                                    member, member.getDescription() + " shows " + type.getName())));
                }
            }
        };
    }

    private static Stream<JavaType> signature(JavaMember member) {
        return switch (member) {
            case JavaCodeUnit unit -> Stream.concat(Stream.of(unit.getReturnType()), unit.getParameterTypes().stream());
            case JavaField field -> Stream.of(field.getType());
            default -> throw new IllegalStateException("a member of an unknown kind: " + member);
        };
    }

    private static ArchCondition<JavaCodeUnit> declareNoBroadThrowable() {
        return new ArchCondition<>("not declare Throwable or Exception") {
            @Override
            public void check(JavaCodeUnit unit, ConditionEvents events) {
                boolean broad = unit.getThrowsClause().stream()
                        .map(declaration -> declaration.getRawType())
                        .anyMatch(type -> type.isEquivalentTo(Throwable.class) || type.isEquivalentTo(Exception.class));
                if (broad && isVisible(unit)) {
                    events.add(SimpleConditionEvent.violated(unit, unit.getDescription() + " declares it"));
                }
            }
        };
    }
}
